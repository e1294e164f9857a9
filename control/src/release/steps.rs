//! Checks how a release moves. Part of [`super::validate`].

use std::collections::BTreeMap;

use super::plan::{Plan, PromotionSpec, PromotionStrategy, Step, StepSpec, StepWeight};
use super::units::{WHOLE, Weight, percent};
use super::validate::Checker;
use super::{STABLE, Spec};

const WEIGHT: &str = "write a percentage such as `5%` or `0.25%`, or a number of 10000 such as `500`";
const SPAN: &str = "write a length of time such as `10s` or `5m`";
/// More than this on stable would leave too little to promote.
const MAX_HOLDBACK: u32 = 500;

// === impl Checker ===

impl Checker<'_> {
    pub(super) fn plan(&mut self, spec: &Spec, lanes: &[String]) -> Plan {
        let steps = spec.steps.iter().enumerate().filter_map(|(index, step)| self.step(index, step, lanes)).collect();
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
            promotion: spec.promotion.strategy,
            promoted: self.promoted(&spec.promotion, lanes),
            holdback: self.holdback(&spec.promotion),
            bake_ms: self.unit("spec.promotion.bake", spec.promotion.bake.millis(), SPAN),
            on_failure: spec.on_failure,
            quorum: self.unit("spec.acknowledgement.quorum", acknowledgement.quorum.parts(), WEIGHT),
            ack_timeout_ms: self.unit("spec.acknowledgement.timeout", acknowledgement.timeout.millis(), SPAN),
            capacity_floor: self.unit("spec.capacity.floor", spec.capacity.floor.parts(), WEIGHT),
            entry,
        }
    }

    fn holdback(&mut self, promotion: &PromotionSpec) -> u32 {
        let path = "spec.promotion.holdback";
        let holdback: u32 = self.unit(path, promotion.holdback.parts(), WEIGHT);
        if holdback > MAX_HOLDBACK {
            let message = format!("{} is more than {}", percent(holdback), percent(MAX_HOLDBACK));
            self.add(path, message, "keep between 0% and 5% on stable");
        }
        holdback
    }

    fn promoted(&mut self, promotion: &PromotionSpec, lanes: &[String]) -> String {
        let path = "spec.promotion.lane";
        match (&promotion.lane, lanes) {
            (Some(lane), _) if lanes.contains(lane) => lane.clone(),
            (Some(lane), _) => {
                let mend = format!("name one of spec.lanes: {}", lanes.join(", "));
                self.add(path, format!("`{lane}` is not a lane of this release"), mend);
                String::new()
            }
            (None, [first, ..]) if lanes.len() == 1 || promotion.strategy == PromotionStrategy::Manual => first.clone(),
            (None, []) => String::new(),
            (None, _) => {
                let mend = format!("name the one whose version becomes stable: {}", lanes.join(", "));
                self.add(path, "there are several lanes", mend);
                String::new()
            }
        }
    }

    fn step(&mut self, index: usize, step: &StepSpec, lanes: &[String]) -> Option<Step> {
        let path = format!("spec.steps[{index}]");
        match step {
            StepSpec { weight: Some(weight), pause: None, gate: None, analysis: None } => {
                Some(Step::Weight(self.step_weight(&format!("{path}.weight"), weight, lanes)))
            }
            StepSpec { weight: None, pause: Some(pause), gate: None, analysis: None } => {
                let path = format!("{path}.pause.duration");
                Some(Step::Pause(pause.duration.as_ref().map(|span| self.unit(&path, span.millis(), SPAN))))
            }
            StepSpec { weight: None, pause: None, gate: Some(gate), analysis: None } => {
                Some(Step::Gate(gate.name.clone()))
            }
            StepSpec { weight: None, pause: None, gate: None, analysis: Some(analysis) } => {
                let path = format!("{path}.analysis.duration");
                Some(Step::Analysis(self.unit(&path, analysis.duration.millis(), SPAN)))
            }
            _ => {
                let mend = "write one of weight, pause, gate and analysis, and further steps below it";
                self.add(&path, "a step does exactly one thing", mend);
                None
            }
        }
    }

    fn step_weight(&mut self, path: &str, weight: &StepWeight, lanes: &[String]) -> BTreeMap<String, u32> {
        match (weight, lanes) {
            (StepWeight::Only(weight), [lane]) => {
                BTreeMap::from([(lane.clone(), self.unit(path, weight.parts(), WEIGHT))])
            }
            (StepWeight::Only(_), _) => {
                let mend = format!("write it by lane: {}", lanes.join(", "));
                self.add(path, "one weight for several lanes", mend);
                BTreeMap::new()
            }
            (StepWeight::Lanes(weights), _) => self.lane_weights(path, weights, lanes),
        }
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
                let mend = format!("name one of spec.lanes: {}", lanes.join(", "));
                self.add(&path, format!("`{lane}` is not a lane of this release"), mend);
            }
            parts.insert(lane.clone(), self.unit(&path, weight.parts(), WEIGHT));
        }
        let sum: u32 = parts.values().fold(0, |sum, weight| sum.saturating_add(*weight));
        if sum > WHOLE {
            let message = format!("the weights add up to {}", percent(sum));
            self.add(path, message, "lower them until they add up to at most 100%");
        }
        parts
    }
}
