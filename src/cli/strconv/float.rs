//! Floating-point numbers as Go's strconv writes them with the formats `e` and `g`.

/// From which exponent on the shortest form is written with one.
const SHORTEST_EXPONENT: i32 = 6;

/// Returns `number` with `precision` digits after the point and an exponent of two digits or more: `1.500000e+03`.
pub(crate) fn scientific(number: f64, precision: usize) -> String {
    go_exponent(&format!("{number:.precision$e}"))
}

/// Returns `number` as `%g` does: `precision` significant digits, without zeros at the end, with an exponent if it is
/// below -4 or not below the precision; `None` is as many digits as it takes.
pub(crate) fn general(number: f64, precision: Option<usize>) -> String {
    if number == 0.0 || !number.is_finite() {
        return match number {
            n if n.is_nan() => "NaN".to_owned(),
            n if n.is_infinite() => if n > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            n => format!("{n}"),
        };
    }
    let (text, limit) = match precision {
        None => (format!("{number:e}"), SHORTEST_EXPONENT),
        Some(precision) => {
            let digits = precision.max(1);
            let limit = i32::try_from(digits).unwrap_or(i32::MAX);
            (format!("{number:.*e}", digits - 1), limit)
        }
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    if exponent < -4 || exponent >= limit {
        return go_exponent(&format!("{mantissa}e{exponent}"));
    }
    let decimals = mantissa
        .split_once('.')
        .map_or(0, |(_, digits)| digits.len());
    let decimals = i32::try_from(decimals).unwrap_or(i32::MAX) - exponent;
    let rounded: f64 = text.parse().unwrap_or(number);
    format!("{rounded:.*}", usize::try_from(decimals).unwrap_or(0))
}

/// `1.5e3` → `1.5e+03`
fn go_exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text.to_owned();
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_is_gos() {
        for (number, precision, want) in [
            (0.0, None, "0"),
            (1.0, None, "1"),
            (1.5, None, "1.5"),
            (100_000.0, None, "100000"),
            (1e6, None, "1e+06"),
            (123_456_789.0, None, "1.23456789e+08"),
            (0.0001, None, "0.0001"),
            (0.00001, None, "1e-05"),
            (-2.5, None, "-2.5"),
            (1.98, Some(3), "1.98"),
            (133.4, Some(3), "133"),
            (999.999, Some(3), "1e+03"),
            (999.999, Some(4), "1000"),
            (1234.5, Some(4), "1234"),
            (1235.5, Some(4), "1236"),
            (12345.0, Some(4), "1.234e+04"),
            (0.00012, Some(1), "0.0001"),
            (64.0, Some(4), "64"),
            (2.0, Some(3), "2"),
        ] {
            assert_eq!(general(number, precision), want, "{number}");
        }
        assert_eq!(scientific(1500.0, 6), "1.500000e+03");
        assert_eq!(scientific(1.5e-10, 2), "1.50e-10");
    }
}
