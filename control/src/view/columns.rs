//! Tables in the manner of kubectl: columns, no borders.

/// An empty table with these columns. Cells are as wide as they look, also in Chinese.
pub fn columns(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table
}

/// A table as text, without the blanks that fill the last column.
pub fn text(table: &comfy_table::Table) -> String {
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
