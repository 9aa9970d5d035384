//! What the kernel says of a process's memory.

/// Resident bytes of a process: now, and at most since its start.
pub fn of_process(pid: u32) -> Option<(u64, u64)> {
    read(&format!("/proc/{pid}/status"))
}

/// The same of this process.
pub fn of_self() -> Option<(u64, u64)> {
    read("/proc/self/status")
}

fn read(path: &str) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(path).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_a_peak_at_least_as_high_as_now() {
        let (now, peak) = super::of_self().expect("Linux tells");
        assert!(now > 0 && peak >= now);
    }
}
