"""The gateways of a process, as its settings name them.

The one rule: whoever starts is sure that every municipality has a way out for each means, with a number that networks
take as a sender; secrets come from files, and no error shows one.

GIHAN_GATEWAYS_FILE is a YAML mapping of names to gateways, each of a `kind` with the fields of its class below; a
tenant names the ones that it uses under `gateways`. Beside them SMS_URL makes a development gateway named `sms`, and
SMTP_URL a mail server named `email`; a tenant that names none uses the gateways with these names. See docs/delivery.md.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from services.chassis.settings import Settings, SettingsError
from services.notifier.gateways import Gateway, Means, sender
from services.notifier.gateways.development import DevelopmentGateway
from services.notifier.gateways.email import EmailGateway, Server
from services.notifier.gateways.kannel import KannelGateway
from services.notifier.gateways.sens import HOSTS, SensGateway
from services.notifier.gateways.solapi import URL, AlimTalk, SolapiGateway
from services.notifier.reports import Marks
from services.rules.tenants import Tenant

MEANS: tuple[Means, ...] = ("sms", "email")


class _Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    rate: float = 0
    """Messages a second; 0: as many as it takes."""


class Development(_Described, tag="development", frozen=True):
    """deploy.devgateway."""

    url: str


class Talk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approved KakaoTalk template: its channel (pfId), its id, and the placeholders of ours that it wants."""

    channel: str
    template: str
    variables: frozenset[str] = frozenset()


class Solapi(_Described, tag="solapi", frozen=True):
    """Solapi. `talks` by template and language, such as receipt.ko."""

    key_file: str
    secret_file: str
    url: str = URL
    talks: Mapping[str, Talk] = {}


class Sens(_Described, tag="sens", frozen=True):
    """SENS of the `public` or the `government` cloud (or at another `url`)."""

    service: str
    key_file: str
    secret_file: str
    cloud: str = "public"
    url: str | None = None


class Kannel(_Described, tag="kannel", frozen=True):
    """Kannel's smsbox. `reports_url` is where it reaches this process; without it nothing is known of what arrived."""

    url: str
    user: str
    password_file: str
    reports_url: str | None = None


class Mail(_Described, tag="email", frozen=True):
    """An SMTP server, such as smtp://relay.city.example:587. `return_path` is where bounces go."""

    url: str
    password_file: str | None = None
    ca_file: str | None = None
    return_path: str | None = None


def opened(settings: Settings, tenants: Mapping[str, Tenant]) -> list[Gateway]:
    """The gateways. Raises SettingsError, naming the gateway or the tenant at fault and never a value."""
    marks = None if settings.reports_key_file is None else Marks.of_file(settings.reports_key_file)
    gateways: dict[str, Gateway] = {}
    if settings.sms_url is not None:
        gateways["sms"] = DevelopmentGateway(settings.sms_url)
    if settings.smtp_url is not None:
        gateways["email"] = EmailGateway(Server.at(settings.smtp_url), mark=None if marks is None else marks.of)
    if settings.gateways_file is not None:
        folder = settings.gateways_file.parent
        for name, described in _read(settings.gateways_file).items():
            gateways[name] = _made(name, described, folder, marks)
    for tenant in tenants.values():
        for means in MEANS:
            _check(tenant, means, gateways)
    return list(gateways.values())


def serves(gateway: Gateway, tenants: Mapping[str, Tenant]) -> list[str]:
    """The tenants whose messages go out by a gateway."""
    return [
        tenant.id for tenant in tenants.values() if tenant.gateways.get(gateway.means, gateway.means) == gateway.name
    ]


def _read(path: Path) -> dict[str, Development | Solapi | Sens | Kannel | Mail]:
    try:
        content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        return msgspec.convert(content, dict[str, Development | Solapi | Sens | Kannel | Mail])
    except OSError as error:
        raise SettingsError(f"The file named by GIHAN_GATEWAYS_FILE cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        said = str(error) if isinstance(error, msgspec.ValidationError) else "it is no YAML"
        raise SettingsError(f"The file named by GIHAN_GATEWAYS_FILE does not describe gateways: {said}") from None


def _made(
    name: str, described: Development | Solapi | Sens | Kannel | Mail, folder: Path, marks: Marks | None
) -> Gateway:
    match described:
        case Development(url=url, rate=rate):
            return DevelopmentGateway(url, name, rate)
        case Solapi(url=url, rate=rate):
            key, secret = (_secret(name, folder, file) for file in (described.key_file, described.secret_file))
            talks = {
                template: AlimTalk(talk.channel, talk.template, talk.variables)
                for template, talk in described.talks.items()
            }
            return SolapiGateway(name, key, secret, url=url, rate=rate, talks=talks)
        case Sens(service=service, rate=rate):
            key, secret = (_secret(name, folder, file) for file in (described.key_file, described.secret_file))
            address = described.url or HOSTS.get(described.cloud)
            if address is None:
                raise SettingsError(f"Gateway {name}: `cloud` must be one of {', '.join(HOSTS)}.")
            return SensGateway(name, service, key, secret, url=address, rate=rate)
        case Kannel(url=url, rate=rate, reports_url=here):
            if here is not None and marks is None:
                raise SettingsError(f"Gateway {name}: with `reports_url` GIHAN_REPORTS_KEY_FILE must be set, too.")
            report_to = None if here is None or marks is None else marks.address(here)
            password = _secret(name, folder, described.password_file)
            return KannelGateway(name, url, described.user, password, rate=rate, report_to=report_to)
        case Mail(url=url, rate=rate):
            password_file, ca = described.password_file, described.ca_file
            server = Server.at(
                url,
                None if password_file is None else _secret(name, folder, password_file),
                None if ca is None else str(folder / ca),
            )
            mark = None if marks is None else marks.of
            return EmailGateway(server, name, rate=rate, mark=mark, return_path=described.return_path)


def _secret(name: str, folder: Path, file: str) -> str:
    try:
        return (folder / file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"Gateway {name}: a file of secrets cannot be read ({error.strerror}).") from None


def _check(tenant: Tenant, means: Means, gateways: Mapping[str, Gateway]) -> None:
    name = tenant.gateways.get(means, means)
    gateway = gateways.get(name)
    if gateway is None or gateway.means != means:
        raise SettingsError(
            f"Tenant {tenant.id} has no gateway for {means}: there is none named {name}. Set SMS_URL and SMTP_URL, for "
            "example to those of `deploy.devgateway`, or describe one in the file that GIHAN_GATEWAYS_FILE names."
        )
    if means == "sms" and not 8 <= len(sender(tenant)) <= 11:
        raise SettingsError(f"Tenant {tenant.id}: `sms_sender` must have 8 to 11 digits, as networks want of a sender.")
