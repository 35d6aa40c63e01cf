"""Documents against the schemas of Kubernetes and of the custom resources that are described in k8s/schemas."""

import contextlib
import io
import pathlib

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.32"

# Read by programs of their own, not by an API server.
NOT_KUBERNETES = {"Kustomization", "Component"}


class Schemas:
    def __init__(self, folder: pathlib.Path) -> None:
        self.custom = {}
        for file in sorted(folder.glob("*.yaml")):
            schema = yaml.safe_load(file.read_text())
            jsonschema.Draft7Validator.check_schema(schema)
            self.custom[file.stem] = jsonschema.Draft7Validator(schema)

    def problems(self, document: dict) -> list[str]:
        """Everything that is wrong with `document`, with the name of what it is in."""
        kind = document.get("kind", "?")
        where = f"{kind} {document.get('metadata', {}).get('name', '?')}: "
        return [where + problem for problem in (self.of_custom(document) if kind.lower() in self.custom else of_kubernetes(document))]

    def of_custom(self, document: dict) -> list[str]:
        kind = document["kind"].lower()
        problems = [f"{error.json_path}: {error.message}" for error in self.custom[kind].iter_errors(document)]
        if kind == "servingruntime" and not problems:
            pod = {key: document["spec"][key] for key in ("containers", "volumes") if key in document["spec"]}
            problems = of_kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of-the-runtime"}, "spec": pod})
        return problems


def of_kubernetes(document: dict) -> list[str]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            kubernetes_validate.validate(document, VERSION, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return [f"{getattr(error, 'json_path', '')} {getattr(error, 'message', error)}".strip()]
    return []
