//! Conditions in the manner of Kubernetes: the time of a transition only moves with the status, and
//! conditions of others stay.

use crate::engine::status::Condition;

/// The conditions to write. `before` is what stands there; `ours` is what the engine says now, in which
/// an empty transition time means that it does not know; `now` is in RFC 3339.
pub fn merged(before: &[Condition], ours: &[Condition], now: &str) -> Vec<Condition> {
    let of_type = |list: &[Condition], name: &str| list.iter().find(|one| one.r#type == name).cloned();
    let timed = ours.iter().map(|condition| {
        let mut condition = condition.clone();
        match of_type(before, &condition.r#type) {
            Some(old) if old.status == condition.status => condition.last_transition_time = old.last_transition_time,
            _ if condition.last_transition_time.is_empty() => condition.last_transition_time = now.to_owned(),
            _ => (),
        }
        condition
    });
    let foreign = before.iter().filter(|old| of_type(ours, &old.r#type).is_none()).cloned();
    timed.chain(foreign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(name: &str, status: &str, reason: &str, time: &str) -> Condition {
        Condition {
            r#type: name.into(),
            status: status.into(),
            reason: reason.into(),
            message: String::new(),
            last_transition_time: time.into(),
            observed_generation: 1,
        }
    }

    #[test]
    fn the_time_of_a_transition_moves_only_with_the_status() {
        let before = [condition("Ready", "False", "Progressing", "t1")];
        let same = merged(&before, &[condition("Ready", "False", "Paused", "t2")], "t3");
        assert_eq!((same[0].reason.as_str(), same[0].last_transition_time.as_str()), ("Paused", "t1"));
        let moved = merged(&before, &[condition("Ready", "True", "Succeeded", "")], "t3");
        assert_eq!(moved[0].last_transition_time, "t3");
    }

    #[test]
    fn conditions_of_others_stay() {
        let before = [condition("Synced", "True", "Argo", "t1")];
        let merged = merged(&before, &[condition("Ready", "True", "Succeeded", "")], "t3");
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[1], before[0]);
    }
}
