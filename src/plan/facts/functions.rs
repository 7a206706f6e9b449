//! PostgreSQL's own functions, and those of well-known extensions: which of them may run anywhere, and
//! what a few of them do besides.
//!
//! One that is IMMUTABLE is a function of its arguments alone, and may, but for a few that lie. Each
//! other one has to be on a list here: what a new version brings is refused until somebody has
//! looked at it. The lists follow `src/include/catalog/pg_proc.dat`.

use crate::catalog::Volatility;

/// What a function is to a query that runs in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Class {
    /// Depends on its arguments, and on settings that are the same everywhere.
    Plain,
    /// Reads the clock: once for the whole query, which is written into it.
    Clock,
    /// Gives something else each time.
    Chance,
    /// Reads tables.
    Reads,
    /// Tells of the server, the database or the session.
    Server,
    /// Nobody has looked at it.
    Unknown,
}

/// Functions, and keywords, that make one value of values, NULL or not: no set of rows.
pub(in crate::plan) const OF_VALUES: [&str; 11] = [
    "coalesce", "nullif", "greatest", "least", "round", "abs", "floor", "ceil", "ceiling", "trunc",
    "sqrt",
];

/// Whether a function has a value for whatever so many arguments it is given, and reports no error.
pub(in crate::plan) fn never_fails_called(name: &str, arguments: usize) -> bool {
    match name {
        // With two, the second is the name of an encoding.
        "length" | "lower" | "upper" | "scale" => arguments == 1,
        "btrim" | "coalesce" => true,
        _ => false,
    }
}

/// What a function of PostgreSQL's own is.
pub(in crate::plan) fn class(name: &str, volatility: Volatility) -> Class {
    // `ts_rewrite` takes a query, or three values.
    if READS.contains(&name) && volatility != Volatility::Immutable {
        return Class::Reads;
    }
    if SERVER.contains(&name) {
        return Class::Server;
    }
    if volatility == Volatility::Immutable {
        return match OF_DATABASE.contains(&name) {
            true => Class::Server,
            false => Class::Plain,
        };
    }
    if PLAIN.contains(&name) || is_comparison_of_times(name) {
        return Class::Plain;
    }
    if CLOCK.contains(&name) {
        return Class::Clock;
    }
    if INDEPENDENT.contains(&name) || CHANCE.contains(&name) {
        return Class::Chance;
    }
    match ["pg_", "txid_", "has_", "inet_", "lo_", "to_reg", "binary_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        true => Class::Server,
        false => Class::Unknown,
    }
}

/// Whether a function that tells of the server does nothing else: it changes nothing, and wakes, stops
/// or locks nothing.
pub(in crate::plan) fn only_tells(name: &str, volatility: Volatility) -> bool {
    const VOLATILE: [&str; 26] = [
        "pg_blocking_pids",
        "pg_current_logfile",
        "pg_current_wal_flush_lsn",
        "pg_current_wal_insert_lsn",
        "pg_current_wal_lsn",
        "pg_database_size",
        "pg_get_backend_memory_contexts",
        "pg_get_multixact_members",
        "pg_get_replication_slots",
        "pg_get_shmem_allocations",
        "pg_get_wait_events",
        "pg_get_wal_replay_pause_state",
        "pg_hba_file_rules",
        "pg_ident_file_mappings",
        "pg_indexes_size",
        "pg_is_in_recovery",
        "pg_is_wal_replay_paused",
        "pg_last_wal_receive_lsn",
        "pg_last_wal_replay_lsn",
        "pg_last_xact_replay_timestamp",
        "pg_lock_status",
        "pg_prepared_xact",
        "pg_relation_size",
        "pg_table_size",
        "pg_tablespace_size",
        "pg_total_relation_size",
    ];
    volatility != Volatility::Volatile || VOLATILE.contains(&name)
}

/// Whether a function makes words of texts, by a configuration or a dictionary of text search.
pub(in crate::plan) fn is_text_search(name: &str) -> bool {
    name.contains("to_tsvector")
        || name.ends_with("to_tsquery")
        || name.starts_with("ts_headline")
        || [
            "ts_lexize",
            "ts_match_tt",
            "ts_match_tq",
            "ts_debug",
            "ts_parse",
        ]
        .contains(&name)
}

/// Whether a setting tells of the server, so that it means nothing where shards have the same value.
pub(in crate::plan) fn is_setting_of_server(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "cluster_name",
        "config_file",
        "data_directory",
        "external_pid_file",
        "hba_file",
        "ident_file",
        "listen_addresses",
        "port",
        "unix_socket_directories",
    ];
    NAMES.contains(&&*name.to_ascii_lowercase())
}

/// What a function of an extension is.
pub(in crate::plan) fn extension_class(name: &str, volatility: Volatility) -> Class {
    if READS_BY_TEXT.iter().any(|prefix| name.starts_with(prefix)) {
        return Class::Reads;
    }
    if INDEPENDENT.contains(&name) || CHANCE.contains(&name) {
        return Class::Chance;
    }
    match volatility == Volatility::Immutable || EXTENSIONS.contains(&name) {
        true => Class::Plain,
        false => Class::Unknown,
    }
}

/// Functions that read tables, by name or by query text: a shard would see its own rows only.
const READS: [&str; 25] = [
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "lo_export",
    "lo_get",
    "loread",
    "nextval",
    "currval",
    "lastval",
    "setval",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
    "pg_get_publication_tables",
    "pg_sequence_last_value",
];

/// What functions of extensions are called that run a text as a query: dblink, tablefunc, xml2.
const READS_BY_TEXT: [&str; 4] = ["dblink", "crosstab", "connectby", "xpath_table"];

/// Functions that tell of the server, the database or the session by another name than `pg_..`.
const SERVER: [&str; 33] = [
    "col_description",
    "current_catalog",
    "current_database",
    "current_query",
    "current_role",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_user",
    "currtid",
    "currtid2",
    "aclexplode",
    "format_type",
    "get_current_ts_config",
    "getdatabaseencoding",
    "getpgusername",
    "lo_close",
    "lo_creat",
    "lo_create",
    "lo_from_bytea",
    "lo_import",
    "lo_open",
    "lo_put",
    "lowrite",
    "mxid_age",
    "obj_description",
    "row_security_active",
    "session_user",
    "set_config",
    "setseed",
    "shobj_description",
    "ts_debug",
    "version",
];

/// Functions that are declared IMMUTABLE, and are so within one database only: the OIDs of an enum's
/// labels differ between databases.
const OF_DATABASE: [&str; 18] = [
    "hash_array",
    "hash_array_extended",
    "hash_multirange",
    "hash_multirange_extended",
    "hash_range",
    "hash_range_extended",
    "hash_record",
    "hash_record_extended",
    "hashenum",
    "hashenumextended",
    "hashoid",
    "hashoidextended",
    "hashoidvector",
    "hashoidvectorextended",
    "pg_get_keywords",
    "pg_partition_root",
    "pg_walfile_name",
    "pg_walfile_name_offset",
];

/// Functions that are STABLE for the sake of settings, of a time zone or of what a type's own
/// functions are.
const PLAIN: &[&str] = &[
    "anytextcat",
    "array_to_json",
    "array_to_string",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "convert_to",
    "date",
    "date_add",
    "date_part",
    "date_subtract",
    "date_trunc",
    "enum_first",
    "enum_last",
    "enum_range",
    "extract",
    "format",
    "generate_series",
    "in_range",
    "interval_pl_timestamptz",
    "json_agg",
    "json_agg_strict",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "json_populate_record",
    "json_populate_recordset",
    "json_to_record",
    "json_to_recordset",
    "json_to_tsvector",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
    "jsonb_to_tsvector",
    "length",
    "make_timestamptz",
    "money",
    "numeric",
    "overlaps",
    "pg_collation_for",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_typeof",
    "phraseto_tsquery",
    "plainto_tsquery",
    "quote_literal",
    "quote_nullable",
    "row_to_json",
    "textanycat",
    "time",
    "timestamp",
    "timestamptz",
    "timestamptz_mi_interval",
    "timestamptz_pl_interval",
    "timetz",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "ts_match_tq",
    "ts_match_tt",
    "ts_parse",
    "ts_token_type",
    "websearch_to_tsquery",
    "xml",
    "xml_is_well_formed",
    // What aggregates of PostgreSQL's own are made of, of which users make others.
    "json_agg_transfn",
    "json_object_agg_transfn",
    "jsonb_agg_finalfn",
    "jsonb_agg_transfn",
    "jsonb_object_agg_finalfn",
    "jsonb_object_agg_transfn",
];

/// Functions whose value is the moment at which the transaction began.
const CLOCK: [&str; 4] = ["age", "now", "statement_timestamp", "transaction_timestamp"];

/// Volatile functions each of whose values is independent of every other: where a row is made does
/// not matter.
pub(in crate::plan) const INDEPENDENT: [&str; 8] = [
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "normal_rand",
    "random",
    "random_normal",
    "uuid_generate_v4",
    "uuidv4",
];

/// Other volatile functions that read no table.
const CHANCE: [&str; 5] = [
    "clock_timestamp",
    "timeofday",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuidv7",
];

/// Functions of extensions that are STABLE for the sake of a setting or of a dictionary: pg_trgm,
/// unaccent, hstore, PostGIS.
const EXTENSIONS: [&str; 18] = [
    "hstore_to_json_loose",
    "similarity_op",
    "st_asgeojson",
    "st_asgml",
    "st_askml",
    "st_aslatlontext",
    "st_astext",
    "strict_word_similarity_commutator_op",
    "strict_word_similarity_dist_commutator_op",
    "strict_word_similarity_dist_op",
    "strict_word_similarity_op",
    "unaccent",
    "unaccent_init",
    "unaccent_lexize",
    "word_similarity_commutator_op",
    "word_similarity_dist_commutator_op",
    "word_similarity_dist_op",
    "word_similarity_op",
];

/// `date_lt_timestamptz` and the like, which know the time zone.
fn is_comparison_of_times(name: &str) -> bool {
    const TYPES: [&str; 3] = ["date", "timestamp", "timestamptz"];
    let mut parts = name.split('_');
    let (left, operator, right) = (parts.next(), parts.next(), parts.next());
    let is_type = |part: Option<&str>| part.is_some_and(|part| TYPES.contains(&part));
    is_type(left)
        && is_type(right)
        && parts.next().is_none()
        && operator.is_some_and(|part| ["cmp", "eq", "ge", "gt", "le", "lt", "ne"].contains(&part))
}

/// What stands before parentheses, or alone, and is no function of `pg_proc` but of the grammar
/// (`src/backend/parser/gram.y`). Aggregates are not among them.
pub(in crate::plan) fn is_keyword(name: &str) -> bool {
    const KEYWORDS: [&str; 32] = [
        "array",
        "cast",
        "coalesce",
        "collation",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "extract",
        "greatest",
        "grouping",
        "json_array",
        "json_exists",
        "json_object",
        "json_query",
        "json_scalar",
        "json_serialize",
        "json_value",
        "least",
        "localtime",
        "localtimestamp",
        "nullif",
        "row",
        "treat",
        "xmlattributes",
        "xmlconcat",
        "xmlelement",
        "xmlforest",
        "xmlparse",
        "xmlpi",
        "xmlroot",
        "xmlserialize",
    ];
    KEYWORDS.contains(&name) || is_role(name)
}

/// Keywords for who runs the query.
pub(in crate::plan) fn is_role(name: &str) -> bool {
    [
        "current_role",
        "current_user",
        "session_user",
        "system_user",
        "user",
    ]
    .contains(&name)
}

/// Functions whose value is that of the search path.
pub(in crate::plan) fn is_of_path(name: &str) -> bool {
    ["current_schema", "current_schemas"].contains(&name)
}

/// Keywords that read the clock.
pub(in crate::plan) fn is_clock_keyword(name: &str) -> bool {
    [
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
    ]
    .contains(&name)
}
