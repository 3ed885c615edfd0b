//! The median, and how sure it is.

/// How many times a sample is drawn anew.
const DRAWS: usize = 10_000;

/// The median of numbers, of which there is at least one.
pub fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The 95 % interval of the median: of the medians of samples drawn from the sample with replacement, all but
/// the lowest and the highest fortieth (the percentile bootstrap). The same numbers give the same interval.
pub fn interval(of: &[f64]) -> (f64, f64) {
    let mut random = Random(0x6a61_696c);
    let mut medians: Vec<_> = (0..DRAWS)
        .map(|_| {
            let drawn: Vec<_> = of.iter().map(|_| of[random.below(of.len())]).collect();
            median(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let out = DRAWS / 40;
    (medians[out], medians[DRAWS - 1 - out])
}

/// SplitMix64 (Steele, Lea, Flood 2014): short, and good enough to draw samples.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; the bias is of the order of limit / 2^64.
    fn below(&mut self, limit: usize) -> usize {
        let product = u128::from(self.next()) * limit as u128;
        usize::try_from(product >> 64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "no arithmetic but halves")]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[5.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[1.0, 1.0, 100.0, 1.0]), 1.0);
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "no arithmetic at all")]
    fn equal_numbers_leave_no_doubt() {
        assert_eq!(interval(&[7.0; 30]), (7.0, 7.0));
        assert_eq!(interval(&[2.0]), (2.0, 2.0));
    }

    /// Of an odd number of distinct numbers the distribution of the bootstrap's median is known: it is at
    /// most the k-th smallest of n if at least (n + 1) / 2 draws are, each with probability k / n.
    #[test]
    #[allow(clippy::float_cmp, reason = "the medians of odd samples are numbers of the sample")]
    fn the_interval_is_that_of_the_binomial_distribution() {
        for n in [5_u32, 31] {
            let at_most = |k: u32| {
                let p = f64::from(k) / f64::from(n);
                let choose = |j: u32| (0..j).map(|i| f64::from(n - i) / f64::from(i + 1)).product::<f64>();
                (n.div_ceil(2)..=n)
                    .map(|j| choose(j) * p.powf(f64::from(j)) * (1.0 - p).powf(f64::from(n - j)))
                    .sum::<f64>()
            };
            let quantile = |q: f64| (1..=n).find(|k| at_most(*k) >= q).map(f64::from).unwrap();
            // In no order, since order means nothing.
            let numbers: Vec<_> = (0..n).map(|i| f64::from(i * 2 % n + 1)).collect();
            assert_eq!(interval(&numbers), (quantile(0.025), quantile(0.975)), "{n}");
        }
    }

    #[test]
    fn the_first_numbers_are_those_of_the_reference_implementation() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = Random(1);
        let mut seen = [false; 7];
        (0..1000).for_each(|_| seen[random.below(7)] = true);
        assert_eq!(seen, [true; 7]);
    }
}
