//! Numbers with their units: `10m`, `20 GB`.

/// Seconds.
pub fn duration(text: &str) -> Option<u64> {
    quantity(text, &[("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400)])
}

/// Bytes.
pub fn size(text: &str) -> Option<u64> {
    let (k, kib) = (1_000, 1_024);
    let units = [
        ("B", 1),
        ("kB", k),
        ("MB", k * k),
        ("GB", k * k * k),
        ("TB", k * k * k * k),
        ("KiB", kib),
        ("MiB", kib * kib),
        ("GiB", kib * kib * kib),
        ("TiB", kib * kib * kib * kib),
    ];
    quantity(text, &units)
}

/// More than zero: nothing that is measured so makes sense without any.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor).filter(|quantity| *quantity > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_with_and_without_a_blank() {
        assert_eq!((duration("90s"), duration("10 m"), duration("7d")), (Some(90), Some(600), Some(604_800)));
        assert_eq!((size("512 MiB"), size("20GB")), (Some(536_870_912), Some(20_000_000_000)));
    }

    #[test]
    fn numbers_without_a_unit_or_sense_are_refused() {
        for text in ["", "10", "m", "-1s", "0s", "1.5h", "10 weeks", "99999999999999999999d", "18446744073709551615 d"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(size("12 gigs"), None);
    }
}
