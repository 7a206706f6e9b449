//! `--param VALUE` and `--param-null`, whose order among each other is the order of `$1`, `$2`, ...

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

/// The values of the parameters in PostgreSQL's text form; `None` is NULL.
///
/// Written out by hand because clap's derive forgets in which order two different flags came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Params(pub(crate) Vec<Option<String>>);

const VALUE: &str = "param";
const NULL: &str = "param-null";

impl Args for Params {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(VALUE)
                    .long(VALUE)
                    .value_name("VALUE")
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .help("The value of the next parameter: the first is $1, the second $2")
                    .long_help(
                        "The value of the next parameter: the first is $1, the second $2, and so \
                         on. Written as PostgreSQL writes it (42, 2024-12-31, {1,2}); PostgreSQL \
                         finds its type. See --param-null for NULL",
                    ),
            )
            .arg(
                // A flag without a value does not keep its places on the command line; an option
                // with none does.
                Arg::new(NULL)
                    .long(NULL)
                    .action(ArgAction::Append)
                    .num_args(0)
                    .value_parser(value_parser!(bool))
                    .default_missing_value("true")
                    .help("The next parameter is NULL, in its place among the --param"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Params {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = matches.get_many::<String>(VALUE).unwrap_or_default();
        let places = matches.indices_of(VALUE).unwrap_or_default();
        let mut params: Vec<(usize, Option<String>)> = places
            .zip(values.cloned().map(Some))
            .chain(
                matches
                    .indices_of(NULL)
                    .unwrap_or_default()
                    .map(|place| (place, None)),
            )
            .collect();
        params.sort_by_key(|(place, _)| *place);
        Ok(Self(params.into_iter().map(|(_, value)| value).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_nulls_keep_their_order() {
        let parse = |line: &str| {
            let command = Params::augment_args(Command::new("test").no_binary_name(true));
            let matches = command.try_get_matches_from(line.split(' ')).unwrap();
            Params::from_arg_matches(&matches).unwrap().0
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            parse("--param a --param-null --param -1 --param-null --param-null --param=b"),
            [some("a"), None, some("-1"), None, None, some("b")]
        );
        assert_eq!(parse("--param-null"), [None]);
        assert_eq!(parse("--param="), [some("")]);
    }
}
