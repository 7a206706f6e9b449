//! The eight tables of TPC-H as PostgreSQL declares them.

use std::fmt::Write as _;

/// A table of TPC-H and how [`Tpch`](super::Tpch) spreads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// The name, in lower case.
    pub name: &'static str,
    /// The column by whose value, modulo the number of shards, its rows are split; `None` for a
    /// table of which every shard holds all rows.
    pub shard_key: Option<&'static str>,
    /// The column definitions, as between the parentheses of `CREATE TABLE`.
    pub columns: &'static str,
    /// The columns of the primary key, separated by commas.
    pub primary_key: &'static str,
}

impl Table {
    /// The statement that creates it, without its primary key.
    pub(super) fn create(&self) -> String {
        format!("CREATE TABLE {} ({})", self.name, self.columns)
    }

    /// The statement that adds the primary key, faster once the rows are there.
    pub(super) fn add_primary_key(&self) -> String {
        format!(
            "ALTER TABLE {} ADD PRIMARY KEY ({})",
            self.name, self.primary_key
        )
    }
}

/// The tables of TPC-H (specification section 1.4) in the order in which they are loaded.
///
/// Keys that grow with the scale factor beyond 32 bits are `bigint`, money and quantities
/// `decimal(15,2)`. There are no foreign keys and no index besides the primary keys.
pub const TABLES: [Table; 8] = [
    Table {
        name: "region",
        shard_key: None,
        columns: "r_regionkey integer NOT NULL, r_name char(25) NOT NULL, r_comment varchar(152) NOT NULL",
        primary_key: "r_regionkey",
    },
    Table {
        name: "nation",
        shard_key: None,
        columns: "n_nationkey integer NOT NULL, n_name char(25) NOT NULL, \
                  n_regionkey integer NOT NULL, n_comment varchar(152) NOT NULL",
        primary_key: "n_nationkey",
    },
    Table {
        name: "supplier",
        shard_key: None,
        columns: "s_suppkey integer NOT NULL, s_name char(25) NOT NULL, \
                  s_address varchar(40) NOT NULL, s_nationkey integer NOT NULL, \
                  s_phone char(15) NOT NULL, s_acctbal decimal(15,2) NOT NULL, \
                  s_comment varchar(101) NOT NULL",
        primary_key: "s_suppkey",
    },
    Table {
        name: "customer",
        shard_key: None,
        columns: "c_custkey integer NOT NULL, c_name varchar(25) NOT NULL, \
                  c_address varchar(40) NOT NULL, c_nationkey integer NOT NULL, \
                  c_phone char(15) NOT NULL, c_acctbal decimal(15,2) NOT NULL, \
                  c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL",
        primary_key: "c_custkey",
    },
    Table {
        name: "part",
        shard_key: None,
        columns: "p_partkey integer NOT NULL, p_name varchar(55) NOT NULL, \
                  p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL, \
                  p_type varchar(25) NOT NULL, p_size integer NOT NULL, \
                  p_container char(10) NOT NULL, p_retailprice decimal(15,2) NOT NULL, \
                  p_comment varchar(23) NOT NULL",
        primary_key: "p_partkey",
    },
    Table {
        name: "partsupp",
        shard_key: None,
        columns: "ps_partkey integer NOT NULL, ps_suppkey integer NOT NULL, \
                  ps_availqty integer NOT NULL, ps_supplycost decimal(15,2) NOT NULL, \
                  ps_comment varchar(199) NOT NULL",
        primary_key: "ps_partkey, ps_suppkey",
    },
    Table {
        name: "orders",
        shard_key: Some("o_orderkey"),
        columns: "o_orderkey bigint NOT NULL, o_custkey integer NOT NULL, \
                  o_orderstatus char(1) NOT NULL, o_totalprice decimal(15,2) NOT NULL, \
                  o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, \
                  o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL, \
                  o_comment varchar(79) NOT NULL",
        primary_key: "o_orderkey",
    },
    Table {
        name: "lineitem",
        shard_key: Some("l_orderkey"),
        columns: "l_orderkey bigint NOT NULL, l_partkey integer NOT NULL, \
                  l_suppkey integer NOT NULL, l_linenumber integer NOT NULL, \
                  l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL, \
                  l_discount decimal(15,2) NOT NULL, l_tax decimal(15,2) NOT NULL, \
                  l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, \
                  l_shipdate date NOT NULL, l_commitdate date NOT NULL, \
                  l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, \
                  l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL",
        primary_key: "l_orderkey, l_linenumber",
    },
];

/// A topology file, in TOML, of databases that [`Tpch`](super::Tpch) has filled in this order.
pub fn tpch_topology(urls: &[String]) -> String {
    let mut toml = String::new();
    // Writing to a String does not fail. Of what a URL may hold, Rust and TOML quote the same.
    for (number, url) in urls.iter().enumerate() {
        let _ = writeln!(toml, "[[shard]]\nname = \"s{number}\"\nurl = {url:?}\n");
    }
    for Table {
        name, shard_key, ..
    } in &TABLES
    {
        let _ = match shard_key {
            Some(key) => writeln!(
                toml,
                "[[table]]\nname = \"{name}\"\nshard_key = \"{key}\"\ncolocation = \"order\"\n\
                 shard_index = \"{key} % {}\"\n",
                urls.len()
            ),
            None => writeln!(toml, "[[table]]\nname = \"{name}\"\nreplicated = true\n"),
        };
    }
    toml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_columns() {
        for table in TABLES {
            let keys = table.primary_key.split(", ").chain(table.shard_key);
            for key in keys {
                let declared = format!("{key} ");
                assert!(table.columns.contains(&declared), "{}: {key}", table.name);
            }
        }
    }
}
