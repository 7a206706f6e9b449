//! What SQL/XML writes between the arguments of its functions (`func_expr_common_subexpr` and `xmltable` in
//! `src/backend/parser/gram.y`): words that the parser does not know become [marks].
//!
//! | written | read as |
//! |---|---|
//! | `xmlelement(NAME a, xmlattributes(b AS c), d)`, `xmlpi(NAME a, b)` | the same, with marks |
//! | `xmlforest(a, b.c, d AS e)` | `xmlforest(a AS a, b.c AS c, d AS e)`: the names that columns have (`transformXmlExpr` in `src/backend/parser/parse_expr.c`), which those that stand for them may not |
//! | `xmlroot(a, VERSION NO VALUE, STANDALONE YES)` | the same, with marks |
//! | `xmlparse(DOCUMENT a)`, `xmlserialize(CONTENT a AS text)` | the same, with marks |
//! | `xmlexists(a PASSING BY REF b)` | `pg_catalog.xmlexists(a, b)` |
//! | `LATERAL xmltable(..)` | `xmltable(..)`, which sees what is before it anyway (`transformRangeTableFunc`) |
//! | `xmltable(a PASSING BY REF b BY REF ..)` | `xmltable(a PASSING b ..)` (`xml_passing_mech`: means nothing) |
//! | `COLUMNS a int NOT NULL DEFAULT 1 PATH 'b'` | `COLUMNS a int PATH 'b' DEFAULT 1 NOT NULL` (`xmltable_column_option_list`: in any order) |
//! | `xmlnamespaces(DEFAULT 'a')` | `xmlnamespaces("\0..DEFAULT 'a'" AS "\0")` |

use super::change::Change;
use super::clauses::Text;
use super::marks::{self, quoted};
use super::tokens::Token;

impl Text<'_> {
    /// What has to be changed of the function of XML that is called there.
    pub(super) fn xml(&self, at: usize, word: &str) -> Option<Vec<Change>> {
        if word == "lateral" {
            let is_table = self.word(at + 1) == Some("xmltable") && self.is(at + 2, "(");
            return is_table.then(|| vec![self.replaced(at, "")]);
        }
        let open = at + 1;
        let is_attribute = at.checked_sub(1).is_some_and(|dot| self.is(dot, "."));
        if !self.is(open, "(") || is_attribute {
            return None;
        }
        let end = *self.partner.get(open)?;
        let first = open + 1;
        match word {
            "xmlelement" | "xmlpi" => {
                let is_name = self.word(first) == Some("name") && self.is_name(first + 1);
                is_name.then(|| vec![self.replaced(first, &quoted(marks::NAME))])
            }
            "xmlforest" | "xmlattributes" => Some(self.names_of_items(first, end)),
            "xmlroot" => {
                let items = self.items(first, end).into_iter().skip(1);
                let changes = items.filter_map(|(from, _)| {
                    let mark = match self.word(from)? {
                        "version" => marks::VERSION,
                        "standalone" => marks::STANDALONE,
                        _ => return None,
                    };
                    Some(self.replaced(from, &quoted(mark)))
                });
                Some(changes.collect())
            }
            "xmlparse" => Some(vec![self.document_or_content(first)?]),
            "xmlserialize" => {
                let name = self.find("as", first, end)?;
                Some(vec![
                    self.document_or_content(first)?,
                    self.replaced(name, &quoted(marks::AS_TYPE)),
                ])
            }
            "xmlexists" => {
                let passing = self.find("passing", first, end)?;
                let mut changes = vec![
                    self.replaced(at, "pg_catalog.xmlexists"),
                    self.replaced(passing, ","),
                ];
                changes.extend(self.mechanisms([passing + 1, end.checked_sub(2)?]));
                Some(changes)
            }
            "xmltable" => {
                let passing = self.find("passing", first, end)?;
                let columns = self.find("columns", passing, end)?;
                let mut changes = self.mechanisms([passing + 1, columns.checked_sub(2)?]);
                let items = self.items(columns + 1, end).into_iter();
                changes.extend(items.filter_map(|(from, to)| self.column(from, to)));
                Some(changes)
            }
            "xmlnamespaces" => {
                let items = self.items(first, end).into_iter();
                let default = items.filter(|(from, to)| {
                    self.word(*from) == Some("default")
                        && matches!(self.token(from + 1), Some(Token::String(_)))
                        && from + 2 == *to
                });
                let changes = default.map(|(from, to)| Change {
                    from: self.start(from),
                    to: self.lexed[to - 1].end,
                    text: marks::default_namespace(self.written(from, to)),
                });
                Some(changes.collect())
            }
            _ => None,
        }
    }

    /// What a column is made of, in the order in which the parser reads it.
    fn column(&self, from: usize, to: usize) -> Option<Change> {
        let mut options: Vec<(&str, usize)> = Vec::new();
        let mut at = from + 2;
        while at < to {
            match self.word(at) {
                // An expression may begin with NULL.
                _ if self.behind(at, &["path", "default"]) && options.last()?.1 + 1 == at => {}
                Some("path") => options.push(("path", at)),
                Some("default") => options.push(("default", at)),
                Some("not") if self.word(at + 1) == Some("null") => {
                    options.push(("not null", at));
                    at += 1;
                }
                Some("null") => options.push(("null", at)),
                _ => {}
            }
            match self.is(at, "(") || self.is(at, "[") {
                true => at = *self.partner.get(at)? + 1,
                false => at += 1,
            }
        }
        let begin = options.first()?.1;
        let behind = |index: usize| options.get(index + 1).map_or(to, |(_, at)| *at);
        let written = |(index, (_, at)): (usize, &(&str, usize))| self.written(*at, behind(index));
        let all: Vec<_> = options.iter().enumerate().map(written).collect();
        let order = ["path", "default", "not null"];
        let ordered: Vec<_> = order
            .iter()
            .filter_map(|option| options.iter().position(|(word, _)| word == option))
            .filter_map(|index| all.get(index).copied())
            .collect();
        (ordered != all).then(|| Change {
            from: self.start(begin),
            to: self.lexed[to - 1].end,
            text: ordered.join(" "),
        })
    }

    /// Leaves out `BY REF` and `BY VALUE` where they are.
    fn mechanisms(&self, places: [usize; 2]) -> Vec<Change> {
        let found = places.into_iter().filter(|by| {
            let mechanism = self.word(by + 1);
            self.word(*by) == Some("by") && ["ref", "value"].map(Some).contains(&mechanism)
        });
        let words = found.flat_map(|by| [self.replaced(by, ""), self.replaced(by + 1, "")]);
        words.collect()
    }

    fn document_or_content(&self, at: usize) -> Option<Change> {
        let mark = match self.word(at)? {
            "document" => marks::DOCUMENT,
            "content" => marks::CONTENT,
            _ => return None,
        };
        Some(self.replaced(at, &quoted(mark)))
    }

    /// The names of elements or attributes.
    fn names_of_items(&self, first: usize, end: usize) -> Vec<Change> {
        let items = self.items(first, end).into_iter();
        let changes = items.filter_map(|(from, to)| match self.find("as", from, to) {
            Some(name) => Some(self.replaced(name, &quoted(marks::AS))),
            None => {
                let name = self.name_of_column(from, to)?;
                let name = format!(" {} \"{}\"", quoted(marks::AS), name.replace('"', "\"\""));
                Some(Change::inserted(self.lexed.get(to - 1)?.end, &name))
            }
        });
        changes.collect()
    }

    /// The name of the column that stands there, with or without its table.
    fn name_of_column(&self, from: usize, to: usize) -> Option<String> {
        let places = from..to;
        let is_column = places.clone().all(|at| match (at - from) % 2 {
            0 => self.is_name(at),
            _ => self.is(at, "."),
        });
        match self.token(to.checked_sub(1)?)? {
            _ if !is_column || places.len() % 2 == 0 => None,
            Token::Word(word) => Some(word.to_string()),
            Token::Quoted(name) => Some(name.clone()),
            _ => None,
        }
    }

    fn replaced(&self, at: usize, text: &str) -> Change {
        Change::replaced(&self.lexed[at], text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::sql::plain::tests::{becomes, stays};

    #[test]
    fn words_of_xml_become_marks() {
        becomes(&[
            (
                "select xmlelement(name a, xmlattributes(b, c.\"D\" as e, f || g as \"H\"), i)",
                "select xmlelement(\"\0NAME\" a, xmlattributes(b \"\0AS\" \"b\", c.\"D\" \"\0AS\" e, f || g \"\0AS\" \"H\"), i)",
            ),
            (
                "select xmlforest(a, b.c, cast(d as text) as e), xmlpi(name f)",
                "select xmlforest(a \"\0AS\" \"a\", b.c \"\0AS\" \"c\", cast(d as text) \"\0AS\" e), xmlpi(\"\0NAME\" f)",
            ),
            (
                "select xmlroot(a, version no value, standalone yes), xmlroot(b, version '1')",
                "select xmlroot(a, \"\0VERSION\" no value, \"\0STANDALONE\" yes), xmlroot(b, \"\0VERSION\" '1')",
            ),
            (
                "select xmlparse(document '<a/>'), xmlserialize(content a as char(10))",
                "select xmlparse(\"\0DOCUMENT\" '<a/>'), xmlserialize(\"\0CONTENT\" a \"\0AS TYPE\" char(10))",
            ),
            (
                "select xmlexists('//a' passing by ref b by ref), xmlexists(c passing d)",
                "select pg_catalog.xmlexists('//a' ,   b  ), pg_catalog.xmlexists(c , d)",
            ),
            (
                "select 1 from a, lateral xmltable('/b' passing by ref c by value columns d int)",
                "select 1 from a,  xmltable('/b' passing   c   columns d int)",
            ),
        ]);
        becomes(&[
            (
                "select * from xmltable('/a' passing b columns c int not null default 1 path 'd', e text null, f for ordinality)",
                "select * from xmltable('/a' passing b columns c int path 'd' default 1 not null, e text , f for ordinality)",
            ),
            (
                "select * from xmltable(xmlnamespaces('x' as y, default 'z'), '/a' passing b columns c int)",
                "select * from xmltable(xmlnamespaces('x' as y, \"\0NAMESPACE default 'z'\" AS \"\0\"), '/a' passing b columns c int)",
            ),
        ]);
        stays(&[
            "select * from xmltable('/a' passing b columns path text path 'c' default null not null, default_ int default (not null))",
            "select name, version from xmltable",
            "select xml.xmlpi(name, 1) from name",
        ]);
    }
}
