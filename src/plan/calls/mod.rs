//! What a statement calls, in every way in which PostgreSQL can call a function, and whether it may.
//!
//! A function may read tables, of which one database has a part only; it may tell of the server or
//! of the session, which are not those of one PostgreSQL that holds all rows; it may read the clock.
//! Which function a call means, the types of its arguments decide, which are not known here: each
//! function that it may mean has to be harmless. What is not known is refused.
//!
//! | way | written | what is called |
//! |---|---|---|
//! | call | `f(x)`, in any clause; `f(..) OVER`, `WITHIN GROUP` | `pg_proc`, by name and number of arguments |
//! | item of FROM | `FROM f(x)`, `LATERAL`, `WITH ORDINALITY` | the same |
//! | attribute | `(row).f`, `f.g` of a function in FROM | functions of one argument |
//! | cast like a call | `t(x)` where `t` is a type | as a cast |
//! | keyword | `current_user`, `current_catalog` | a function of that name |
//! | operator | `a ~~~ b`, `IN`, `BETWEEN`, `LIKE`, `= ANY`, `CASE x WHEN`, `USING` | `pg_operator.oprcode` |
//! | cast | `x::t`, `CAST`, `t 'x'`; unwritten ones | `pg_cast.castfunc` |
//! | type | a column, a cast, a column list of FROM, what a function takes or gives | input, output, a domain's CHECK, a range's canonical form |
//! | order and equality | `ORDER BY`, `GROUP BY`, `DISTINCT`, `UNION`, of values of a type | `pg_amproc` and `pg_amop` of its default operator classes |
//! | aggregate | `a(x)` | transition, final, combine and moving functions: `pg_aggregate` |
//! | body | what a function of users calls in its text, or in defaults of arguments | all of this, see [`text`] |
//!
//! Views and common table expressions stand in place by then, so what they call is checked as any
//! other part of the statement.
//!
//! | a function | may be called if |
//! |---|---|
//! | of PostgreSQL | IMMUTABLE, or on a list of [`facts::functions`](super::facts::functions); never, if it reads tables or tells of the server, unless one server is asked of itself (`home`) |
//! | of an extension | likewise |
//! | of users | declared IMMUTABLE, or STABLE in `sql` or `plpgsql`; the same on all shards; and its code is harmless |
//! | .. in `sql`, `plpgsql` | no word of it reads a table, runs a text, reads the clock, or calls what may not be called |
//! | .. in `c` | always: a superuser has declared it so |
//! | .. in `plperl`, `plpython3u`, `pltcl`, `plv8` | its text names no way to ask the database or to run a text |
//! | .. in another language | never |

mod judge;
mod objects;
mod statement;
mod text;
mod verdict;

pub(super) use self::statement::{check, check_home};
