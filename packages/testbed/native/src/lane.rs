//! One direction of a wire between two hosts.

use std::time::{Duration, Instant};

/// How long a frame may wait until those before it have been sent; one that would wait longer is dropped, as a router
/// with a buffer of this length does.
const LONGEST_QUEUE: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub peer: [u8; 6],
    pub delay: Duration,
    /// Bit/s; 0 is no limit.
    pub rate: u64,
    /// Of a million frames.
    pub loss: u32,
}

impl Rule {
    /// `02:00:c6:12:00:02,20000,1000000,10000`
    pub fn parse(text: &str) -> Option<Rule> {
        let [peer, delay, rate, loss] = text.split(',').collect::<Vec<_>>().try_into().ok()?;
        let bytes: Vec<u8> = peer.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>().ok()?;
        let rule = Rule {
            peer: bytes.try_into().ok()?,
            delay: Duration::from_micros(delay.parse().ok()?),
            rate: rate.parse().ok()?,
            loss: loss.parse().ok()?,
        };
        (rule.loss <= 1_000_000).then_some(rule)
    }
}

pub struct Lane {
    rule: Rule,
    /// When the last bit of all frames so far has been sent.
    free_at: Option<Instant>,
}

impl Lane {
    pub fn new(rule: &Rule) -> Lane {
        Lane { rule: rule.clone(), free_at: None }
    }

    /// When a frame of so many bytes that is sent now arrives; none for one that is lost.
    pub fn accept(&mut self, now: Instant, bytes: usize, random: &mut Random) -> Option<Instant> {
        if random.below(1_000_000) < self.rule.loss {
            return None;
        }
        let mut sent = now;
        if let Some(nanoseconds) = (bytes as u64 * 8 * 1_000_000_000).checked_div(self.rule.rate) {
            let begins = self.free_at.map_or(now, |free_at| free_at.max(now));
            if begins - now > LONGEST_QUEUE {
                return None;
            }
            sent = begins + Duration::from_nanos(nanoseconds);
            self.free_at = Some(sent);
        }
        Some(sent + self.rule.delay)
    }
}

/// xorshift32
pub struct Random(u32);

impl Random {
    pub fn new(seed: u32) -> Random {
        Random(seed | 1)
    }

    /// Even over 0 to `limit`, that left out.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (u64::from(self.0) * u64::from(limit) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(rule: &str) -> Lane {
        Lane::new(&Rule::parse(rule).unwrap())
    }

    #[test]
    fn rules_are_read_or_refused() {
        let rule = Rule::parse("02:00:c6:12:00:0a,20000,1000000,10000").unwrap();
        assert_eq!(rule.peer, [2, 0, 0xc6, 0x12, 0, 10]);
        assert_eq!((rule.delay, rule.rate, rule.loss), (Duration::from_millis(20), 1_000_000, 10_000));
        for wrong in [
            "",
            "02:00:c6:12:00,0,0,0",
            "02:00:c6:12:00:0a,0,0",
            "02:00:c6:12:00:0g,0,0,0",
            "02:00:c6:12:00:0a,0,0,1000001",
        ] {
            assert_eq!(Rule::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn frames_queue_at_the_rate_and_the_rest_is_dropped() {
        let (now, mut random) = (Instant::now(), Random::new(1));
        // 1,000 bytes at 80 kbit/s: 100 ms.
        let mut slow = lane("02:00:00:00:00:01,5000,80000,0");
        let arrivals: Vec<_> = (0..10).map(|_| slow.accept(now, 1_000, &mut random)).collect();
        let times: Vec<_> = arrivals.iter().flatten().map(|at| (*at - now).as_millis()).collect();
        assert_eq!(times, [105, 205, 305, 405, 505]);
        let later = now + Duration::from_secs(10);
        assert_eq!(slow.accept(later, 1_000, &mut random), Some(later + Duration::from_millis(105)));
    }

    #[test]
    fn so_many_of_a_million_are_lost() {
        let (now, mut random) = (Instant::now(), Random::new(7));
        let mut lossy = lane("02:00:00:00:00:01,0,0,50000");
        let lost = (0..20_000).filter(|_| lossy.accept(now, 100, &mut random).is_none()).count();
        // 5 % of 20,000 is 1,000, with a standard deviation of 31.
        assert!((875..1_125).contains(&lost), "{lost}");
    }
}
