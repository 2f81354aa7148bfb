//! Data on stdout: a table for people, JSON for programs.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _};

use comfy_table::{ContentArrangement, TableStyle};
use serde::Serialize;

use crate::{
    console, escape,
    failure::Failure,
    json_text::{self, Layout},
};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Jsonl,
}

/// Columns and rows; every cell is escaped when it is printed.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &'static [&'static str]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    fn render(&self, bold: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut table = comfy_table::Table::new();
        table
            .load_style(TableStyle::new())
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.columns.iter().map(|column| column.to_uppercase()));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| match cell.as_str() {
                "" => "-".into(),
                text => escape::line(text),
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut out = String::new();
        for (index, line) in table.lines().enumerate() {
            let line = line.trim_end();
            if index == 0 && bold {
                out.push_str("\x1b[1m");
                out.push_str(line);
                out.push_str("\x1b[0m");
            } else {
                out.push_str(line);
            }
            out.push('\n');
        }
        out
    }
}

/// Standard output in the format that was asked for.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    bold: bool,
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            bold: io::stdout().is_terminal() && console::colours_wanted(),
            stdout: BufWriter::new(io::stdout().lock()),
        }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// A list: a table, one array, or one object a line.
    pub(crate) fn list<T: Serialize>(
        &mut self,
        items: &[T],
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let text = table(items).render(self.bold);
                self.write(&text)?;
            }
            Format::Json => self.json(&items, Layout::Pretty)?,
            Format::Jsonl => {
                for item in items {
                    self.json(item, Layout::Compact)?;
                }
            }
        }
        self.flush()
    }

    /// One thing: `people` says how it reads as text, line by line.
    pub(crate) fn one<T: Serialize>(
        &mut self,
        item: &T,
        people: impl FnOnce(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                for line in people(item) {
                    self.line(&line)?;
                }
            }
            Format::Json => self.json(item, Layout::Pretty)?,
            Format::Jsonl => self.json(item, Layout::Compact)?,
        }
        self.flush()
    }

    /// One line of text, escaped.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let text = escape::output_line(text).into_owned();
        self.write(&text)?;
        self.write("\n")
    }

    /// A value as JSON and a line end.
    pub(crate) fn json<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        layout: Layout,
    ) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|source| Failure::Output(source.into()))?;
        self.json_text(&text, layout)
    }

    /// JSON that is text already, and a line end.
    pub(crate) fn json_text(&mut self, text: &str, layout: Layout) -> Result<(), Failure> {
        let text =
            json_text::relayout(text, layout).map_err(|source| Failure::Output(source.into()))?;
        self.write(&text)?;
        self.write("\n")
    }

    /// What goes to a program, or into a file, as it is.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::Output)
    }

    /// Text that is safe already (a completion script, help).
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout
            .write_all(text.as_bytes())
            .map_err(Failure::Output)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_escape_and_mark_empty_cells() {
        let mut table = Table::new(&["pack", "message"]);
        table.row(["default".to_owned(), "a\x1b[2Jb".to_owned()]);
        table.row(["x".to_owned(), String::new()]);
        assert_eq!(
            table.render(false),
            "PACK     MESSAGE\ndefault  a\\u{1b}[2Jb\nx        -\n"
        );
    }

    #[test]
    fn an_empty_table_prints_nothing() {
        assert_eq!(Table::new(&["a"]).render(true), "");
    }
}
