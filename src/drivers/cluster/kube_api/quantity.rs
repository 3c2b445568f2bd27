//! Kubernetes quantities: `500m`, `64Mi`, `1e3`.

pub fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1048576.0),
        ("Gi", 1073741824.0),
        ("Ti", 1099511627776.0),
        ("Pi", 1125899906842624.0),
        ("Ei", 1152921504606846976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let text = text.trim();
    let found = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, factor) = found.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n * factor)
}

#[cfg(test)]
mod tests {
    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, value) in [("2", 2.0), ("500m", 0.5), ("64Mi", 67108864.0), ("263856772Ki", 263856772.0 * 1024.0), ("1e3", 1000.0), ("3k", 3000.0)] {
            assert_eq!(super::quantity(text), Some(value), "{text}");
        }
        assert_eq!(super::quantity("lots"), None);
    }
}
