"""The scenes by name, in the order in which they run. Each takes the lab, and gives what was seen."""

from scenes import apply, autoscale, chart, healing, memory, qos, readiness, rollout, spread

SCENES = {
    "apply": apply.run,
    "qos": qos.run,
    "hpa-cpu": autoscale.cpu,
    "hpa-queue": autoscale.queue,
    "rollout": rollout.run,
    "spread": spread.run,
    "oom": memory.killed,
    "flood": memory.flood,
    "healing": healing.run,
    "readiness": readiness.run,
    "chart": chart.run,
}
