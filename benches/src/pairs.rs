//! Pairs of measurements, and what is printed of them.

use crate::{
    lab::Result,
    stats::{interval, median},
};

/// Runs two things so often, one right after the other; which comes first alternates.
///
/// # Errors
/// The first failure of either.
pub fn in_turn<T>(
    count: usize,
    one: impl Fn() -> Result<T>,
    other: impl Fn() -> Result<T>,
) -> Result<Vec<[T; 2]>> {
    let pair = |n| {
        if n % 2 == 0 {
            let first = one()?;
            return Ok([first, other()?]);
        }
        let first = other()?;
        Ok([one()?, first])
    };
    (0..count).map(pair).collect()
}

/// Measurements of two things, each pair taken at nearly the same time.
#[derive(Debug)]
pub struct Pairs(Vec<(f64, f64)>);

/// How many pairs are thrown away: caches are cold at first.
const WARM_UP: usize = 3;

impl Pairs {
    /// Measures `count` pairs; `each` is given the number of the pair and whether it is the first of the two
    /// that is wanted. Which comes first alternates, so that neither always follows the other.
    ///
    /// # Errors
    /// The first failure of `each`.
    pub fn measure(count: usize, mut each: impl FnMut(usize, bool) -> Result<f64>) -> Result<Self> {
        let mut pairs = Vec::new();
        for n in 0..count + WARM_UP {
            let pair = if n % 2 == 0 {
                let first = each(n, true)?;
                (first, each(n, false)?)
            } else {
                let second = each(n, false)?;
                (each(n, true)?, second)
            };
            pairs.push(pair);
        }
        pairs.drain(..WARM_UP);
        Ok(Self(pairs))
    }

    /// Pairs that were measured elsewhere.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    fn each(&self, of: impl Fn(&(f64, f64)) -> f64) -> Vec<f64> {
        self.0.iter().map(of).collect()
    }

    /// The medians of the first of each pair, and of the second.
    pub fn medians(&self) -> (f64, f64) {
        (median(&self.each(|p| p.0)), median(&self.each(|p| p.1)))
    }

    /// One line of a table: the median of the ratios with its interval, and what the halves are.
    pub fn print(&self, what: &str, unit: &str) {
        let ratios = self.each(|p| p.0 / p.1);
        let ((low, high), (first, second)) = (interval(&ratios), self.medians());
        say!(
            "{what:<30} {:>7.3} [{low:>6.3}, {high:>6.3}] {:>5} {first:>10.1} {second:>10.1} {unit}",
            median(&ratios),
            self.0.len(),
        );
    }

    /// One line without a ratio: of halves that may be nothing at all.
    pub fn print_halves(&self, what: &str, unit: &str) {
        let (first, second) = self.medians();
        say!("{what:<30} {:>24} {:>5} {first:>10.1} {second:>10.1} {unit}", "", self.0.len());
    }

    /// A line of what the first has more than the second.
    pub fn print_difference(&self, unit: &str) {
        let added = self.each(|p| p.0 - p.1);
        let (low, high) = interval(&added);
        say!("{:<30} {:>+7.0} [{low:>+6.0}, {high:>+6.0}] {unit}", "  difference", median(&added));
    }
}

/// The head of a table of such lines.
pub fn head(title: &str, first: &str, second: &str) {
    say!("\n{title}");
    say!("{:<30} {:>7} {:^16} {:>5} {first:>10} {second:>10}", "", "ratio", "95 % of median", "pairs");
}
