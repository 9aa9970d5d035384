//! What machine the figures are of. Times do not carry over to another; ratios do, roughly.

use std::fs;

use serde_json::{Value, json};

/// The instructions that decide how fast hashing and sealing are.
const FLAGS: [&str; 8] = [
    "aes", "vaes", "sha_ni", "avx", "avx2", "avx512f", "asimd", "sha2",
];

/// This machine.
pub struct Machine {
    model: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    flags: Vec<String>,
    load: String,
}

impl Machine {
    /// Looks.
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let field = |names: &[&str]| {
            let line = info
                .lines()
                .find(|line| names.iter().any(|name| line.starts_with(name)));
            line.and_then(|line| line.split_once(':'))
                .map_or("", |(_, rest)| rest.trim())
        };
        let all: Vec<&str> = field(&["flags", "Features"])
            .split_ascii_whitespace()
            .collect();
        let memory = read("/proc/meminfo");
        let kib = memory
            .lines()
            .next()
            .and_then(|line| line.split_ascii_whitespace().nth(1));
        Self {
            model: field(&["model name", "Model"]).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            flags: FLAGS
                .iter()
                .filter(|flag| all.contains(flag))
                .map(|flag| (*flag).to_owned())
                .collect(),
            load: read("/proc/loadavg")
                .split_ascii_whitespace()
                .next()
                .unwrap_or("?")
                .to_owned(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        format!(
            "{}, {} cores, {} MiB, Linux {}, {}; load {} at the beginning",
            self.model,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.flags.join(" "),
            self.load
        )
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "model": self.model,
            "cores": self.cores,
            "memory_mib": self.memory_mib,
            "kernel": self.kernel,
            "flags": self.flags,
            "load": self.load,
        })
    }
}
