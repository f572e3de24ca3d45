//! Plain tables, which are Markdown too.

use std::fmt;
use std::time::Duration;

/// A table: the first column is left-aligned text, the others are right-aligned figures.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    #[must_use]
    pub fn new(heads: &[&str]) -> Table {
        Table {
            rows: vec![heads.iter().map(ToString::to_string).collect()],
        }
    }

    /// Adds a row; it may be shorter than the heads.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.resize(self.rows[0].len(), String::new());
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(2)
        };
        let widths: Vec<_> = (0..self.rows[0].len()).map(width).collect();
        for (i, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if i == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let line = "-".repeat(width + 1);
                    write!(
                        f,
                        "{}",
                        if column == 0 {
                            format!("|{line}-|")
                        } else {
                            format!("{line}:|")
                        }
                    )?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// A figure with three or more significant digits; a dash if there is none.
#[must_use]
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// A time in microseconds.
#[must_use]
pub fn micros(time: Option<Duration>) -> String {
    figure(time.map(|time| time.as_secs_f64() * 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["what", "ns"]);
        table.row(["a packet".to_owned(), figure(Some(12.34))]);
        table.row(["µ".to_owned(), figure(None)]);
        let expected = "| what     |   ns |\n|----------|-----:|\n| a packet | 12.3 |\n| µ        |    - |\n";
        assert_eq!(table.to_string(), expected);
    }
}
