//! The table of steps, and the chart of their speed.

use std::time::Duration;

/// What one step took.
pub struct Step {
    pub events: u64,
    pub took: Duration,
    /// CPU time by process.
    pub cpu: Vec<(&'static str, Duration)>,
    /// The program's largest resident memory, in bytes.
    pub memory: u64,
    /// How much was written for durability, in bytes: PostgreSQL's write-ahead log, or the growth of
    /// the directory.
    pub written: u64,
    /// What the program logged.
    pub log: String,
}

/// The steps so far.
pub struct Table<'a> {
    expected: &'a [String],
    rates: Vec<f64>,
    warnings: Vec<String>,
}

impl<'a> Table<'a> {
    /// A table in which WARN lines with one of these texts are no failures.
    pub fn new(expected: &'a [String]) -> Self {
        Table { expected, rates: Vec::new(), warnings: Vec::new() }
    }

    /// Prints a step, after which `sent` events are stored.
    pub fn add(&mut self, sent: u64, step: Step) {
        if self.rates.is_empty() {
            println!("   events  events/s  memory MiB  bytes/event  rebuilds  warnings  CPU seconds");
        }
        let rate = step.events as f64 / step.took.as_secs_f64();
        let warnings: Vec<_> = step.log.lines().filter(|line| self.is_warning(line)).collect();
        let rebuilds = step.log.lines().filter(|line| line.contains(" rebuilding ")).count();
        let cpu: Vec<_> =
            step.cpu.iter().map(|(name, cpu)| format!("{name} {:.1}", cpu.as_secs_f64())).collect();
        println!(
            "{sent:9}  {rate:8.0}  {:10.0}  {:11.0}  {rebuilds:8}  {:8}  {}",
            step.memory as f64 / f64::from(1 << 20),
            step.written as f64 / step.events as f64,
            warnings.len(),
            cpu.join(", ")
        );
        self.warnings.extend(warnings.into_iter().map(str::to_owned));
        self.rates.push(rate);
    }

    fn is_warning(&self, line: &str) -> bool {
        (line.contains(" WARN ") || line.contains(" ERROR "))
            && !self.expected.iter().any(|text| line.contains(text))
    }

    /// Prints the chart. Fails if there were warnings.
    pub fn end(self) -> Result<(), Box<dyn std::error::Error>> {
        let most = self.rates.iter().copied().fold(1.0, f64::max);
        println!();
        for (number, rate) in (1..).zip(&self.rates) {
            println!("{number:4}  {rate:8.0}  {}", "█".repeat((rate / most * 50.0).round() as usize));
        }
        if let [first, .., last] = self.rates[..] {
            println!("the last step ran at {:.2} of the first", last / first);
        }
        match self.warnings.len() {
            0 => Ok(()),
            count => Err(format!("{count} unexpected warnings:\n{}", self.warnings.join("\n")).into()),
        }
    }
}
