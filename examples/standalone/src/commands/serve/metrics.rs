//! The pipeline's counts as metrics of the gateway.

use feedkit_core::pipeline::PipelineHandle;
use feedkit_core::{Error, Result};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// A registry with the counts of events by outcome, for every way in which they arrive.
pub fn registry(pipeline: &PipelineHandle) -> Result<Registry> {
    let fault = |e: prometheus::Error| Error::fatal(format!("metrics: {e}"));
    let help = "Records since the start, by what became of them; effects are among the accepted";
    let records = IntCounterVec::new(Opts::new("feedkit_pipeline_records_total", help), &["outcome"]);
    let accepted = IntCounter::new("feedkit_events_accepted_total", "Events kept since the start");
    let counts = Counts {
        pipeline: pipeline.clone(),
        records: records.map_err(fault)?,
        accepted: accepted.map_err(fault)?,
    };
    let registry = Registry::new();
    registry.register(Box::new(counts)).map_err(fault)?;
    Ok(registry)
}

/// Reads the pipeline's counts when it is asked.
struct Counts {
    pipeline: PipelineHandle,
    records: IntCounterVec,
    accepted: IntCounter,
}

impl Collector for Counts {
    fn desc(&self) -> Vec<&Desc> {
        [self.records.desc(), self.accepted.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counts = self.pipeline.status().counts;
        for (outcome, count) in [
            ("accepted", counts.accepted),
            ("duplicate", counts.duplicates),
            ("rejected", counts.rejected),
            ("effect", counts.effects),
        ] {
            let counter = self.records.with_label_values(&[outcome]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.accepted.inc_by(counts.accepted.saturating_sub(self.accepted.get()));
        [self.records.collect(), self.accepted.collect()].concat()
    }
}
