//! Checks how a release moves. Part of [`super::validate`].

use std::collections::BTreeMap;

use super::plan::{Auto, AutoSpec, DrainSpec, DrainStreams, Plan, PromotionSpec, PromotionStrategy, Step, StepSpec};
use super::units::{WHOLE, Weight, percent};
use super::validate::Checker;
use super::{STABLE, Spec, rules};

/// More than this on stable would leave too little to promote.
const MAX_HOLDBACK: u32 = 500;
/// A release that is judged stays at its last weight for so long, if it does not say otherwise.
const BAKE_MS: u64 = 60_000;
/// No proxy takes a longer one.
const MAX_DRAIN_MS: u64 = 86_400_000;

// === impl Checker ===

impl Checker<'_> {
    pub(super) fn plan(&mut self, spec: &Spec, lanes: &[String]) -> Plan {
        let steps = spec.steps.iter().enumerate().filter_map(|(index, step)| self.step(index, step, lanes));
        let steps: Vec<Step> = steps.collect();
        let analysis = self.analysis(spec, &steps);
        let entry = spec.entry.clone().unwrap_or_default();
        for (index, gateway) in entry.gateways.iter().enumerate() {
            self.label(&format!("spec.entry.gateways[{index}].namespace"), &gateway.namespace);
        }
        let services = [("entry.inbound", &entry.inbound), ("entry.outbound", &entry.outbound)];
        for (field, services) in services.into_iter().chain([("carriers", &spec.carriers)]) {
            for (index, service) in services.iter().enumerate() {
                self.label(&format!("spec.{field}[{index}]"), service);
            }
        }
        let acknowledgement = &spec.acknowledgement;
        Plan {
            carriers: spec.carriers.clone(),
            steps,
            leader: self.leader(spec),
            promotion: spec.promotion.strategy,
            promoted: self.promoted(&spec.promotion, lanes),
            holdback: self.holdback(&spec.promotion),
            bake_ms: self.bake(&spec.promotion, analysis.is_some()),
            on_failure: spec.on_failure,
            drain_after_ms: self.drain(&spec.drain),
            quorum: self.weight("spec.acknowledgement.quorum", &acknowledgement.quorum),
            ack_timeout_ms: self.span("spec.acknowledgement.timeout", &acknowledgement.timeout),
            capacity_floor: self.weight("spec.capacity.floor", &spec.capacity.floor),
            entry,
            analysis,
        }
    }

    fn drain(&mut self, drain: &DrainSpec) -> Option<u64> {
        let path = "spec.drain.after";
        let after_ms = self.span(path, &drain.after);
        if after_ms > MAX_DRAIN_MS {
            self.add(path, format!("`{}` is longer than a day", drain.after.0), "write at most `24h`");
        }
        (drain.streams == DrainStreams::Close).then_some(after_ms)
    }

    /// Evidence comes fast where there is much traffic. What a version does only after a while (memory that runs
    /// out, a connection that is never given back) is not in it yet.
    fn bake(&mut self, promotion: &PromotionSpec, is_judged: bool) -> u64 {
        match &promotion.bake {
            Some(bake) => self.span("spec.promotion.bake", bake),
            None if is_judged => BAKE_MS,
            None => 0,
        }
    }

    fn holdback(&mut self, promotion: &PromotionSpec) -> u32 {
        let path = "spec.promotion.holdback";
        let holdback: u32 = self.weight(path, &promotion.holdback);
        if holdback > MAX_HOLDBACK {
            self.refuse(path, &rules::HOLDBACK, &[("value", &promotion.holdback.0)]);
        }
        holdback
    }

    fn promoted(&mut self, promotion: &PromotionSpec, lanes: &[String]) -> String {
        let path = "spec.promotion.lane";
        match (&promotion.lane, lanes) {
            (Some(lane), _) if lanes.contains(lane) => lane.clone(),
            (Some(lane), _) => {
                self.refuse(path, &rules::UNKNOWN_LANE, &[("value", lane)]);
                String::new()
            }
            (None, [first, ..]) if lanes.len() == 1 || promotion.strategy == PromotionStrategy::Manual => first.clone(),
            (None, []) => String::new(),
            (None, _) => {
                self.refuse(path, &rules::NO_PROMOTED_LANE, &[]);
                String::new()
            }
        }
    }

    fn step(&mut self, index: usize, step: &StepSpec, lanes: &[String]) -> Option<Step> {
        let path = format!("spec.steps[{index}]");
        let StepSpec { weight, weights, pause, gate, analysis, auto } = step;
        match (weight, weights, pause, gate, analysis, auto) {
            (Some(weight), None, None, None, None, None) => {
                Some(Step::Weight(self.only_weight(&format!("{path}.weight"), weight, lanes)))
            }
            (None, Some(weights), None, None, None, None) => {
                Some(Step::Weight(self.lane_weights(&format!("{path}.weights"), weights, lanes)))
            }
            (None, None, Some(pause), None, None, None) => {
                let path = format!("{path}.pause.duration");
                Some(Step::Pause(pause.duration.as_ref().map(|span| self.span(&path, span))))
            }
            (None, None, None, Some(gate), None, None) => Some(Step::Gate(gate.name.clone())),
            (None, None, None, None, None, Some(auto)) => self.auto(&path, auto, lanes),
            (None, None, None, None, Some(analysis), None) => {
                Some(Step::Analysis(self.span(&format!("{path}.analysis.duration"), &analysis.duration)))
            }
            _ => {
                self.refuse(&path, &rules::ONE_THING, &[]);
                None
            }
        }
    }

    fn auto(&mut self, path: &str, auto: &AutoSpec, lanes: &[String]) -> Option<Step> {
        let from = self.weight(&format!("{path}.auto.from"), &auto.from);
        let to = self.weight(&format!("{path}.auto.to"), &auto.to);
        if from == 0 || to < from {
            self.refuse(&format!("{path}.auto"), &rules::RAMP, &[]);
        }
        let [lane] = lanes else {
            self.refuse(&format!("{path}.auto"), &rules::ONE_RAMP, &[]);
            return None;
        };
        Some(Step::Auto(Auto { lane: lane.clone(), from, to }))
    }

    fn only_weight(&mut self, path: &str, weight: &Weight, lanes: &[String]) -> BTreeMap<String, u32> {
        let parts = self.weight(path, weight);
        if let [lane] = lanes {
            return BTreeMap::from([(lane.clone(), parts)]);
        }
        self.refuse(path, &rules::ONE_WEIGHT, &[]);
        BTreeMap::new()
    }

    /// Weights by lane, of which none is stable's and which leave something to stable.
    pub(super) fn lane_weights(
        &mut self,
        path: &str,
        weights: &BTreeMap<String, Weight>,
        lanes: &[String],
    ) -> BTreeMap<String, u32> {
        let mut parts = BTreeMap::new();
        for (lane, weight) in weights {
            let path = format!("{path}.{lane}");
            if lane == STABLE {
                self.add(&path, "`stable` has whatever the other lanes leave", "leave it out");
            } else if !lanes.contains(lane) {
                self.refuse(&path, &rules::UNKNOWN_LANE, &[("value", lane)]);
            }
            parts.insert(lane.clone(), self.weight(&path, weight));
        }
        let sum: u32 = parts.values().fold(0, |sum, weight| sum.saturating_add(*weight));
        if sum > WHOLE {
            let message = format!("the weights add up to {}", percent(sum));
            self.add(path, message, "lower them until they add up to at most 100%");
        }
        parts
    }
}
