//! How figures are printed.

/// Prints a line of figures; `own` is the first median, to which the others are compared.
pub(crate) fn print_times(name: &str, mut times: Vec<f64>, own: &mut Option<f64>) {
    times.sort_unstable_by(f64::total_cmp);
    let (Some(min), Some(max)) = (times.first(), times.last()) else {
        return;
    };
    let median = times[times.len() / 2];
    let compared = match *own {
        None => String::new(),
        Some(base) => format!("  {:.1} times", median / base),
    };
    own.get_or_insert(median);
    println!("  {name:8} {min:9.1} {median:9.1} {max:9.1}{compared}");
}
