//! `--trace-config` and the older flags on whole command lines.

use super::super::tests::{options, refused, run};
use crate::trace::{Level, Mode, TraceOptions, Values};

#[test]
fn command_lines() {
    let (timestamps, tensors) =
        (Level { timestamps: true, tensors: false }, Level { timestamps: false, tensors: true });
    let start = Values::default();
    assert_eq!(options(&[]).trace, TraceOptions::default());
    assert_eq!((start.rate, start.count, start.log_frequency), (1000, -1, 0));
    for (args, values, file) in [
        (
            &[
                "--trace-config=triton,file=/t",
                "--trace-config",
                "TRITON,log-frequency=50",
                "--trace-config=rate=5",
            ][..],
            Values { rate: 5, log_frequency: 50, ..start },
            "/t",
        ),
        (
            &["--trace-config=level=timestamps", "--trace-config=level=TENSORS", "--trace-config=count=-7"],
            Values { level: timestamps.and(tensors), count: -7, ..start },
            "",
        ),
        (
            &["--trace-config=level=OFF", "--trace-config=level=MAX"],
            Values { level: timestamps, ..start },
            "",
        ),
        (&["--trace-config=rate=-1"], Values { rate: u32::MAX, ..start }, ""),
        (
            &["--trace-rate=3", "--trace-count=4", "--trace-log-frequency=5"],
            Values { rate: 3, count: 4, log_frequency: 5, ..start },
            "",
        ),
        (
            &["--trace-level=tensors", "--trace-file=a", "--trace-file=b"],
            Values { level: tensors, ..start },
            "b",
        ),
        (&["--trace-level=off", "--trace-level=tensors", "--trace-config=level=tensors"], start, ""),
        (&["--trace-config=triton,file=/t", "--trace-config=mode=opentelemetry"], start, ""),
    ] {
        let trace = run(args).0.trace;
        assert_eq!((trace.values, trace.file.as_str()), (values, file), "{args:?}");
    }
    let otel =
        run(&["--trace-config=mode=OpenTelemetry", "--trace-config=opentelemetry,bsp_schedule_delay=7"])
            .0
            .trace;
    let shown: Vec<_> = otel.others.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(otel.mode, Mode::OpenTelemetry);
    assert_eq!(shown, ["bsp_schedule_delay=7", "bsp_max_queue_size=2048", "bsp_max_export_batch_size=512"]);
    for (args, option, reason) in [
        (&["--trace-config=level=Loud"][..], "level", "invalid value for trace level option: loud"),
        (&["--trace-config=rate=often"], "rate", "Invalid option value. Got often"),
        (
            &["--trace-config=count=2147483648"],
            "count",
            "Provided option value is out of bound. Got 2147483648",
        ),
        (
            &["--trace-config=mode=x"],
            "mode",
            "invalid value for trace mode option: x. Available options are \"triton\" and \"opentelemetry\"",
        ),
        (&["--trace-config=triton,log-frequency=x"], "triton,log-frequency", "Invalid option value. Got x"),
        (
            &["--trace-config=mode=opentelemetry", "--trace-config=opentelemetry,bsp_max_queue_size=-1"],
            "opentelemetry,bsp_max_queue_size",
            "Provided option value is out of bound. Got -1",
        ),
        (
            &["--trace-config=mode=opentelemetry", "--trace-config=opentelemetry,url=grpc://x"],
            "opentelemetry,url",
            "'grpc://x' is not an URL of a collector: the scheme must be http or https",
        ),
    ] {
        refused(args, &format!("Bad option: \"--trace-config {option}\".\n{reason}"));
    }
    refused(
        &["--trace-config=,level=OFF"],
        "Bad option: \"--trace-config\".\nNo trace mode specified. --trace-config option format is <trace \
         mode>,<setting>=<value> or <setting>=<value>. Got ,level=OFF",
    );
}
