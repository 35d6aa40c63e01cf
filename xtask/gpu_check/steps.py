"""The list of steps, in the order in which they run: what says most in little time comes first."""

import check_answers
import check_errors
import check_memory
import check_metrics
import check_plans
import check_shared_memory
import check_throughput
from runner import Step

STEPS = [
    Step("cpu answers", 120, check_answers.on_cpu),
    Step("cuda answers", 150, check_answers.on_cuda),
    Step("shared memory", 60, check_shared_memory.system),
    Step("cuda shared memory", 90, check_shared_memory.cuda),
    Step("load errors", 90, check_errors.run),
    Step("metrics", 60, check_metrics.run),
    Step("throughput cuda", 150, check_throughput.cuda),
    Step("plan by TensorRT", 180, check_plans.full),
    Step("plan by TensorRT RTX", 90, check_plans.rtx),
    Step("plan by TensorRT 8", 240, check_plans.eight),
    Step("memory", 120, check_memory.run),
    Step("throughput tensorrt", 150, check_throughput.tensorrt),
    Step("throughput cpu", 60, check_throughput.cpu),
]
