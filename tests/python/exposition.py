"""The metrics page, read by Prometheus' own parser."""

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from nereid_process import Nereid


def families(server: Nereid) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(server.metrics())}


def value(server: Nereid, name: str, **labels: str) -> float:
    """The one sample with just these labels."""
    (sample,) = [s.value for s in families(server)[name].samples if s.labels == labels]
    return sample


def shown(server: Nereid, model: str) -> set[str]:
    """Names of the families that have a sample of the model."""
    return {name for name, family in families(server).items() if any(s.labels.get("model") == model for s in family.samples)}
