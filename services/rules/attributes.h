/* Attributes of values that are no compiled classes: msgspec's and timedelta's, whose fields stand at fixed offsets.
 *
 * mypyc asks for each of them by name, through the type, its order of bases and a descriptor, some hundred and fifty
 * instructions a look, and an event takes two hundred looks. Here each place in the code remembers what it found there
 * last. What it may remember by: the type, its version, which CPython changes whenever the type does and never gives
 * again, and the name, since a demand of a charter names its field at run time.
 *
 * Included before every compiled file (setup.py). What it gives is what PyObject_GetAttr gives, errors too.
 */
#include <CPy.h>
#include <structmember.h>

typedef struct {
    PyTypeObject *type;
    PyObject *name;
    unsigned int version;
    int offset; /* below zero where the field is no object but an int */
} Remembered;

/* What the type says; if that is a field, its place is remembered. */
static PyObject *attribute_of_type(PyObject *value, PyObject *name, Remembered *last) {
    PyTypeObject *type = Py_TYPE(value);
    if (type->tp_getattro == PyObject_GenericGetAttr && PyUnicode_CheckExact(name)) {
        PyObject *descriptor = _PyType_Lookup(type, name); /* borrowed; gives the type its version */
        if (descriptor != NULL && Py_IS_TYPE(descriptor, &PyMemberDescr_Type) && type->tp_version_tag != 0) {
            PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
            if ((member->type == T_OBJECT_EX || member->type == T_INT) && !(member->flags & PY_AUDIT_READ)) {
                int offset = (int)member->offset;
                Py_INCREF(name); /* so that no other name comes to stand where it stands */
                Py_XDECREF(last->name);
                *last = (Remembered){type, name, type->tp_version_tag, member->type == T_INT ? -offset : offset};
            }
        }
    }
    return PyObject_GetAttr(value, name);
}

static inline PyObject *attribute(PyObject *value, PyObject *name, Remembered *last) {
    PyTypeObject *type = Py_TYPE(value);
    if (likely(type == last->type && name == last->name && type->tp_version_tag == last->version)) {
        PyObject *found;
        if (last->offset < 0)
            return PyLong_FromLong(*(int *)((char *)value - last->offset));
        found = *(PyObject **)((char *)value + last->offset);
        if (likely(found != NULL)) { /* an unset field is told of by PyObject_GetAttr */
            Py_INCREF(found);
            return found;
        }
    }
    return attribute_of_type(value, name, last);
}

#undef CPyObject_GetAttr
#define CPyObject_GetAttr(value, name)              \
    ({                                              \
        static Remembered last_;                    \
        attribute((value), (name), &last_);         \
    })
