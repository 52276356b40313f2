/* Attributes of values that are no compiled classes: msgspec's, times and their differences, which hold or compute them
 * in ways that a type settles once.
 *
 * mypyc asks for each of them by name, through the type, its order of bases and a descriptor, some hundred and fifty
 * instructions a look, and an event takes two hundred looks. Here each place in the code remembers what it found there
 * last. What it may remember by: the type, its version, which CPython changes whenever the type does and never gives
 * again, and the name, since a demand of a charter names its field at run time. What such a place found before the last
 * one stands in a table for all of them.
 *
 * Included before every compiled file (setup.py). What it gives is what PyObject_GetAttr gives, errors too.
 */
#include <CPy.h>
#include <structmember.h>

typedef struct {
    PyTypeObject *type;
    PyObject *name;
    PyGetSetDef *computed; /* what computes it; or NULL: */
    unsigned int version;
    int offset; /* where the field stands, below zero where it is no object but an int */
} Remembered;

enum { TABLE = 512 };

static inline int remembers(const Remembered *it, PyTypeObject *type, PyObject *name) {
    return type == it->type && name == it->name && type->tp_version_tag == it->version;
}

/* What a type settles about a name is put into `it`; says whether that is anything. */
static int learn(PyTypeObject *type, PyObject *name, Remembered *it) {
    PyObject *descriptor; /* borrowed */
    PyGetSetDef *computed = NULL;
    int offset = 0;
    if (type->tp_getattro != PyObject_GenericGetAttr || !PyUnicode_CheckExact(name))
        return 0;
    descriptor = _PyType_Lookup(type, name); /* gives the type its version */
    if (descriptor == NULL || type->tp_version_tag == 0)
        return 0;
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        if ((member->type != T_OBJECT_EX && member->type != T_INT) || member->flags & PY_AUDIT_READ)
            return 0;
        offset = (int)(member->type == T_INT ? -member->offset : member->offset);
    } else if (Py_IS_TYPE(descriptor, &PyGetSetDescr_Type)) {
        computed = ((PyGetSetDescrObject *)descriptor)->d_getset;
        if (computed->get == NULL)
            return 0;
    } else {
        return 0;
    }
    if (!PyType_IsSubtype(type, PyDescr_TYPE(descriptor)))
        return 0; /* somebody else's, put into the type's dictionary */
    Py_INCREF(name); /* so that no other name comes to stand where it stands */
    Py_XDECREF(it->name);
    *it = (Remembered){type, name, computed, type->tp_version_tag, offset};
    return 1;
}

static inline PyObject *attribute_from(const Remembered *it, PyObject *value, PyObject *name) {
    PyObject *found;
    if (it->computed != NULL)
        return it->computed->get(value, it->computed->closure);
    if (it->offset < 0)
        return PyLong_FromLong(*(int *)((char *)value - it->offset));
    found = *(PyObject **)((char *)value + it->offset);
    if (likely(found != NULL)) {
        Py_INCREF(found);
        return found;
    }
    return PyObject_GetAttr(value, name); /* says that the field is not set */
}

/* What the table has, or the type says; the place remembers it from now on. */
static PyObject *attribute_of_type(PyObject *value, PyObject *name, Remembered *last) {
    static Remembered table[TABLE];
    PyTypeObject *type = Py_TYPE(value);
    Remembered *it = &table[(((size_t)type >> 4) ^ ((size_t)name >> 4) ^ ((size_t)name >> 13)) % TABLE];
    if (!remembers(it, type, name) && !learn(type, name, it))
        return PyObject_GetAttr(value, name);
    Py_INCREF(name);
    Py_XDECREF(last->name);
    *last = *it;
    return attribute_from(it, value, name);
}

static inline PyObject *attribute(PyObject *value, PyObject *name, Remembered *last) {
    if (likely(remembers(last, Py_TYPE(value), name)))
        return attribute_from(last, value, name);
    return attribute_of_type(value, name, last);
}

#undef CPyObject_GetAttr
#define CPyObject_GetAttr(value, name)              \
    ({                                              \
        static Remembered last_;                    \
        attribute((value), (name), &last_);         \
    })
