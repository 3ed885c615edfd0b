//! A snapshot: one typed tree, printed as text or as JSON.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// A tree of named values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// One value.
    Leaf(Json),
    /// Named children, in order.
    Map(Vec<(String, Self)>),
    /// Rows with equal columns.
    Table {
        /// The columns' names.
        columns: Vec<String>,
        /// One value a column in each.
        rows: Vec<Vec<Json>>,
    },
}

impl Node {
    /// A leaf.
    pub fn leaf(value: impl Into<Json>) -> Self {
        Self::Leaf(value.into())
    }

    /// A map without children.
    #[must_use]
    pub fn map() -> Self {
        Self::Map(Vec::new())
    }

    /// A table without rows.
    #[must_use]
    pub fn table(columns: &[&str]) -> Self {
        Self::Table { columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a child to a map.
    pub fn put(&mut self, name: impl Into<String>, child: Self) {
        if let Self::Map(children) = self {
            children.push((name.into(), child));
        }
    }

    /// Adds a row to a table.
    pub fn row(&mut self, row: Vec<Json>) {
        if let Self::Table { rows, .. } = self {
            rows.push(row);
        }
    }

    /// As JSON: a table is an array of objects.
    #[must_use]
    pub fn json(&self) -> Json {
        match self {
            Self::Leaf(value) => value.clone(),
            Self::Map(children) => {
                children.iter().map(|(name, child)| (name.clone(), child.json())).collect()
            }
            Self::Table { columns, rows } => rows
                .iter()
                .map(|row| columns.iter().cloned().zip(row.iter().cloned()).collect::<Json>())
                .collect(),
        }
    }

    /// As text: two columns for the leaves of a map, children indented below their names.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, 0);
        out
    }

    fn print(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Leaf(value) => {
                let _ = writeln!(out, "{indent}{}", plain(value));
            }
            Self::Map(children) => {
                let leaves = children.iter().filter(|(_, c)| matches!(c, Self::Leaf(_)));
                let width = leaves.map(|(name, _)| name.chars().count()).max().unwrap_or(0);
                for (name, child) in children {
                    if let Self::Leaf(value) = child {
                        let _ = writeln!(out, "{indent}{name:width$}  {}", plain(value));
                    } else {
                        let _ = writeln!(out, "{indent}{name}");
                        child.print(out, depth + 1);
                    }
                }
            }
            Self::Table { columns, rows } => {
                let cells: Vec<Vec<String>> =
                    std::iter::once(columns.iter().map(|c| c.to_uppercase()).collect())
                        .chain(rows.iter().map(|row| row.iter().map(plain).collect()))
                        .collect();
                let width = |n: usize| cells.iter().filter_map(|r| r.get(n)).map(|c| c.chars().count()).max();
                let widths: Vec<_> = (0..columns.len()).map(|n| width(n).unwrap_or(0)).collect();
                for row in &cells {
                    let line: Vec<_> =
                        row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
                    let _ = writeln!(out, "{indent}{}", line.join("  ").trim_end());
                }
            }
        }
    }
}

/// A value without JSON's quotes.
fn plain(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        Json::Null => "-".to_owned(),
        Json::Array(items) if items.is_empty() => "-".to_owned(),
        Json::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Node {
        let mut table = Node::table(&["kind", "key"]);
        table.row(vec!["link".into(), "eth0".into()]);
        let mut node = Node::map();
        node.put("name", Node::leaf("web"));
        node.put("jid", Node::leaf(3));
        node.put("pieces", table);
        node
    }

    #[test]
    fn text_aligns_leaves_and_indents_children() {
        assert_eq!(tree().text(), "name  web\njid   3\npieces\n  KIND  KEY\n  link  eth0\n");
    }

    #[test]
    fn a_table_is_an_array_of_objects() {
        let json = serde_json::json!({"name": "web", "jid": 3, "pieces": [{"kind": "link", "key": "eth0"}]});
        assert_eq!(tree().json(), json);
    }
}
