"""`python -m services.intake.openapi` prints intake's OpenAPI document as YAML. The one rule: it is the one served."""

import json

import yaml

from services.chassis.settings import Settings
from services.intake.api.document import document
from services.intake.app import build_app

if __name__ == "__main__":
    app = build_app(Settings(nats_url="", database_url="", service="intake"))
    plain = json.loads(json.dumps(document(app)))  # no shared objects, so no aliases in the YAML
    print(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=110), end="")  # noqa: T201
