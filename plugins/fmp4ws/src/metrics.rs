//! The figures of all streams of a listener, for Prometheus (OpenMetrics text).
//!
//! One line for each stream, none for each viewer: viewers come and go, and a database keeps each label for ever. What single
//! viewers do is in `/api/streams`.

use crate::directory::Directory;
use crate::stream::{Report, Stream};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::Error;
use std::sync::Arc;

/// Of what [`text()`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of them at this moment.
pub fn text(directory: Arc<Directory>) -> String {
    let mut registry = Registry::with_prefix("fmp4wssink");
    registry.register_collector(Box::new(Figures(directory)));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes anything");
    text
}

struct Figures(Arc<Directory>);

/// Asked for by [`Collector`].
impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

type Counter = (&'static str, &'static str, fn(&Report) -> u64);
type Gauge = (&'static str, &'static str, Option<Unit>, fn(&Report) -> Option<f64>);

const COUNTERS: [Counter; 13] = [
    ("fragments", "Fragments that came in", |report| report.counters.fragments),
    ("keyframes", "Fragments at which a viewer can start", |report| report.counters.keyframes),
    ("frames", "Frames of the main track that came in", |report| report.counters.frames),
    ("bytes", "Bytes of the fragments that came in", |report| report.counters.bytes),
    ("inits", "Init segments: how often the stream began or changed", |report| report.counters.inits),
    ("broken_frames", "Frames that could not be read and were left out", |report| report.counters.broken_frames),
    ("viewers_joined", "Viewers that came", |report| report.totals.joined),
    ("viewers_refused", "Viewers that max-viewers turned away", |report| report.totals.refused),
    ("sent_fragments", "Fragments that went out, to all viewers", |report| report.totals.sent_fragments),
    ("sent_bytes", "Bytes of media that went out, to all viewers", |report| report.totals.sent_bytes),
    ("dropped_frames", "Frames that viewers missed because they were slow", |report| report.totals.dropped_frames),
    ("dropped_bytes", "Bytes that viewers missed because they were slow", |report| report.totals.dropped_bytes),
    ("keyframe_requests", "Keyframes that were asked for upstream", |report| report.totals.keyframe_requests),
];

const GAUGES: [Gauge; 8] = [
    ("viewers", "Viewers at this moment", None, |report| Some(report.viewers.len() as f64)),
    ("frame_rate", "Frames in a second", None, |report| Some(report.rate.frames_per_second)),
    ("bit_rate", "Bits in a second", None, |report| Some(report.rate.bits_per_second)),
    ("width", "Pixels", None, |report| Some(report.width.into())),
    ("height", "Pixels", None, |report| Some(report.height.into())),
    ("queue", "What waits for all viewers", Some(Unit::Bytes), |report| {
        Some(report.viewers.iter().map(|viewer| viewer.queue_bytes as f64).sum())
    }),
    ("queue_age", "How long the oldest of it has waited", Some(Unit::Seconds), |report| {
        Some(report.viewers.iter().map(|viewer| viewer.queue_seconds).fold(0.0, f64::max))
    }),
    ("reported_latency", "The largest delay that a viewer reports", Some(Unit::Seconds), |report| {
        let reported = report.viewers.iter().filter_map(|viewer| viewer.reported?.latency);
        reported.reduce(f64::max)
    }),
];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let streams: Vec<(Arc<Stream>, Report)> =
            self.0.streams().into_iter().map(|stream| (stream.clone(), stream.report())).collect();
        for (name, help, value) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (stream, report) in &streams {
                let labels = [("stream", stream.name())];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value(report), None)?;
            }
        }
        for (name, help, unit, value) in &GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for (stream, report) in &streams {
                if let Some(value) = value(report) {
                    metric.encode_family(&[("stream", stream.name())])?.encode_gauge(&value)?;
                }
            }
        }
        let help = "From a fragment's arrival to the operating system's hands, for each viewer";
        let mut metric = encoder.encode_descriptor("send_delay", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        streams.iter().try_for_each(|(stream, _)| delays(&mut metric, stream))
    }
}

fn delays(metric: &mut MetricEncoder<'_>, stream: &Stream) -> Result<(), Error> {
    let histogram = stream.delays().histogram();
    let labels = [("stream", stream.name())];
    metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
        histogram.sum,
        histogram.count,
        &histogram.buckets,
        None,
    )
}
