//! Refusing settings that cannot judge.

use std::collections::BTreeSet;

use super::{ObjectiveKind, Plan};

/// A setting that cannot be used: the field, what is wrong, and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}; {mend}")]
pub struct PlanProblem {
    /// Path of the field within the analysis.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub mend: &'static str,
}

// === impl Plan ===

impl Plan {
    /// Checks every range.
    ///
    /// # Errors
    /// All problems, not only the first.
    pub fn check(&self) -> Result<(), Vec<PlanProblem>> {
        let mut problems = Vec::new();
        self.check_shares(&mut problems);
        self.check_services(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_shares(&self, problems: &mut Vec<PlanProblem>) {
        for (field, value) in [("alpha", self.alpha), ("alphaPass", self.alpha_pass), ("rampBudget", self.ramp_budget)]
        {
            if !(value > 0.0 && value <= 0.1) {
                refuse(
                    problems,
                    field,
                    format!("{value} is not above 0 and at most 0.1"),
                    "write a small share, like 0.001",
                );
            }
        }
        let shares = [
            ("floor", self.floor),
            ("quorum", self.quorum),
            ("fallbackBudget", self.fallback_budget),
            ("integrityFloor", self.integrity_floor),
        ];
        for (field, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                refuse(problems, field, format!("{value} is not between 0 and 1"), "write a share, like 0.05 for 5%");
            }
        }
        if !(1.0..=5.0).contains(&self.margin) {
            refuse(problems, "margin", format!("{} is not between 1 and 5", self.margin), "write a factor, like 1.2");
        }
        if !(1..=10_000).contains(&self.ramp_start) {
            refuse(
                problems,
                "rampStart",
                format!("{} is not between 1 and 10000", self.ramp_start),
                "write 1/10,000: 100 is 1%",
            );
        }
        if self.lane.is_empty() || self.lane == crate::STABLE {
            refuse(
                problems,
                "lane",
                format!("'{}' is not a lane that can be judged", self.lane),
                "name a lane other than stable",
            );
        }
    }

    fn check_services(&self, problems: &mut Vec<PlanProblem>) {
        let mut seen = BTreeSet::new();
        for (service, objective) in self.objectives() {
            let field = format!("services[{service}].objectives[{}]", objective.name);
            let at_least = objective.at_least();
            let is_share = !matches!(objective.kind, ObjectiveKind::Value { .. });
            if is_share && !(at_least > 0.0 && at_least < 1.0) {
                refuse(
                    problems,
                    &field,
                    format!("{at_least} is not between 0 and 1"),
                    "write a share, like 0.99 for 99%",
                );
            }
            if !seen.insert((service, &objective.name)) {
                refuse(
                    problems,
                    &field,
                    "the name is used twice".into(),
                    "give every objective of a service its own name",
                );
            }
        }
        if seen.is_empty() {
            refuse(
                problems,
                "services",
                "no objective is given".into(),
                "name a service and an objective, like 99% of requests succeed",
            );
        }
    }
}

fn refuse(problems: &mut Vec<PlanProblem>, field: &str, reason: String, mend: &'static str) {
    problems.push(PlanProblem { field: field.to_owned(), reason, mend });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Objective, ObjectiveKind, ServicePlan};

    #[test]
    fn every_problem_is_told_with_its_mend() {
        let objective = Objective { name: "success".into(), kind: ObjectiveKind::SuccessRate { at_least: 99.0 } };
        let services = vec![ServicePlan { service: "cart".into(), objectives: vec![objective.clone(), objective] }];
        let problems = Plan { alpha: f64::NAN, services, ..Plan::default() }.check().unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].starts_with("alpha: NaN"), "{told:?}");
        assert!(
            told[1].contains("services[cart].objectives[success]: 99 is not between 0 and 1; write a share"),
            "{told:?}"
        );
    }

    #[test]
    fn a_plan_without_objectives_is_refused() {
        assert_eq!(Plan::new("canary", Vec::new()).unwrap_err()[0].field, "services");
        assert!(Plan::new("stable", Vec::new()).unwrap_err().iter().any(|problem| problem.field == "lane"));
    }
}
