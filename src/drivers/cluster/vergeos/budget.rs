//! How many requests VergeOS still takes within the hour, and how often to look so that they last. Nothing is refused here: whoever looks is only asked to wait longer.
use crate::model::Span;
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

const SHORTEST: Span = Span::seconds(5);
const LONGEST: Span = Span::seconds(300);
const HOUR: f64 = 3600.0;

pub struct Budget {
    /// Half of what an hour allows: so much at once, and as much again evenly over the hour.
    half: f64,
    left: Mutex<(f64, Instant)>,
}

impl Budget {
    pub fn new(per_hour: u32) -> Budget {
        Budget::from(per_hour, Instant::now())
    }
    fn from(per_hour: u32, now: Instant) -> Budget {
        let half = f64::from(per_hour) / 2.0;
        Budget { half, left: Mutex::new((half, now)) }
    }

    /// One request is sent.
    pub fn spend(&self) {
        self.take(1.0, Instant::now());
    }
    pub fn look_every(&self) -> Span {
        self.pace(Instant::now())
    }

    /// What is left afterwards.
    fn take(&self, requests: f64, now: Instant) -> f64 {
        let mut left = self.left.lock().expect("BUG: a holder of the budget panicked");
        let since = now.saturating_duration_since(left.1).as_secs_f64();
        *left = ((left.0 + since * self.half / HOUR).min(self.half) - requests, now);
        left.0
    }

    /// Quick while there is plenty; slower and slower as it runs out, so that any number of nodes in work finds a pace that lasts.
    fn pace(&self, now: Instant) -> Span {
        let share = (self.take(0.0, now) / self.half).max(0.01);
        if share >= 0.5 {
            return SHORTEST;
        }
        let stretched = SHORTEST.0.mul_f64((0.5 / share).powi(2));
        // Whole seconds: a journal may show it.
        Span(Duration::from_secs(stretched.as_secs() + 1)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that are looked at side by side for four hours, four requests a look, each as often as it is told: the most in any hour, and the looks of the first node.
    fn worst_hour(nodes: usize) -> (usize, usize) {
        let (began, per_look) = (Instant::now(), 4.0);
        let budget = Budget::from(1000, began);
        let (mut sent, mut looks, mut due) = (Vec::new(), 0, vec![0u64; nodes]);
        for second in 0..4 * 3600u64 {
            let now = began + Duration::from_secs(second);
            for (n, next) in due.iter_mut().enumerate().filter(|(_, next)| **next <= second) {
                budget.take(per_look, now);
                sent.extend([second; 4]);
                looks += usize::from(n == 0);
                *next = second + budget.pace(now).0.as_secs();
            }
        }
        let hour = |from: u64| sent.iter().filter(|at| (from..from + 3600).contains(*at)).count();
        ((0..3 * 3600).step_by(60).map(hour).max().unwrap(), looks)
    }

    #[test]
    fn no_hour_sees_more_than_the_limit_however_many_nodes_are_in_work() {
        for nodes in [1, 2, 4, 8] {
            let (most, looks) = worst_hour(nodes);
            assert!((400..=1000).contains(&most), "{nodes} nodes: {most} requests in one hour");
            assert!(looks >= 4 * 3600 / 300, "{nodes} nodes: looked {looks} times");
        }
    }

    #[test]
    fn the_pace_follows_what_is_left() {
        let began = Instant::now();
        let budget = Budget::from(1000, began);
        assert_eq!(budget.pace(began), SHORTEST);
        budget.take(250.0, began);
        assert_eq!(budget.pace(began), SHORTEST, "a node that goes and comes back within some minutes is looked at as often as is wise");
        budget.take(125.0, began);
        assert_eq!(budget.pace(began), Span::seconds(21));
        budget.take(500.0, began);
        assert_eq!(budget.pace(began), LONGEST);
        assert_eq!(budget.pace(began + Duration::from_secs(7200)), SHORTEST, "and it comes back with time");
    }
}
