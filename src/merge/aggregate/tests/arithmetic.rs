//! Numbers: right to the last digit, or an error.

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, IntervalMonthDayNanoArray,
};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};

use super::*;
use crate::merge::scripted::{batch, numbers};

#[tokio::test(flavor = "multi_thread")]
async fn integers_that_overflow_are_an_error() {
    let big = || {
        vec![
            vec![numbers([i64::MAX, -1])],
            vec![numbers([2])],
            vec![numbers([-1])],
        ]
    };
    // Fits in the end, whatever the order in which it is added.
    assert_eq!(
        rows(big(), "SELECT sum(n) AS s FROM shards").await,
        [i64::MAX.to_string()]
    );
    let over = || vec![vec![numbers([i64::MAX])], vec![numbers([1])]];
    for sql in [
        "SELECT sum(n) AS s FROM shards",
        "SELECT sum(DISTINCT n) AS s FROM shards",
        "SELECT n % 1 AS g, sum(n) AS s FROM shards GROUP BY 1",
        "SELECT sum(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM shards",
        "SELECT n + 1 AS s FROM shards",
        "SELECT -2 - n AS s FROM shards",
        "SELECT n * 2 AS s FROM shards",
        "SELECT -(-n - 1) AS s FROM shards",
    ] {
        let error = refused(over(), sql).await;
        assert_eq!(error.kind(), ErrorKind::Execute, "{sql}: {error:?}");
        assert_eq!(error.phase(), Some(Phase::Merge));
    }
    assert_eq!(
        rows(over(), "SELECT sum(n::decimal(38)) AS s FROM shards").await,
        ["9223372036854775808"]
    );
    assert_eq!(
        rows(
            over(),
            "SELECT max(n - 1) + 1 AS s, min(-n) AS m FROM shards"
        )
        .await,
        [format!("{} {}", i64::MAX, -i64::MAX)]
    );
    let sql = "SELECT n % 1 AS g, sum(n) FILTER (WHERE n > 1) AS s FROM shards GROUP BY n % 1";
    assert_eq!(rows(over(), sql).await, [format!("0 {}", i64::MAX)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_stay_exact_or_are_an_error() {
    let decimals = |precision, scale, values: Vec<i128>| {
        let array = Decimal128Array::from_iter_values(values);
        let array = array.with_precision_and_scale(precision, scale).unwrap();
        batch(vec![("x", Arc::new(array) as ArrayRef)])
    };
    let money = || {
        vec![
            vec![decimals(15, 2, vec![10, 25])],
            vec![decimals(15, 2, vec![1])],
        ]
    };
    let answer = run(money(), "SELECT sum(x) AS s, sum(x * 0.1) AS t FROM shards").await;
    let answer = answer.unwrap();
    let schema = answer[0].schema();
    assert_eq!(schema.field(0).data_type(), &DataType::Decimal128(25, 2));
    assert_eq!(shown(&answer), ["0.36 0.036"]);
    assert_eq!(
        rows(money(), "SELECT avg(x) AS a FROM shards").await,
        ["0.120000"]
    );

    let most = 10_i128.pow(38) - 1;
    let wide = |second| {
        vec![
            vec![decimals(38, 20, vec![most])],
            vec![decimals(38, 20, vec![second])],
        ]
    };
    for sql in [
        "SELECT sum(x) AS s FROM shards",
        "SELECT sum(DISTINCT x) AS s FROM shards",
        "SELECT sum(x) AS s FROM shards GROUP BY x > 5",
        "SELECT x + x AS s FROM shards",
    ] {
        let error = refused(wide(most - 1), sql).await;
        assert_eq!(error.kind(), ErrorKind::Execute, "{sql}: {error:?}");
    }
    // More digits than the type has, though fewer than its bits hold.
    let error = refused(wide(1), "SELECT sum(x) AS s FROM shards").await;
    assert_eq!(error.kind(), ErrorKind::Execute);
    assert!(error.hint().unwrap().contains("decimal(76,20)"));
    let sum = "SELECT sum(x::decimal(76,20)) AS s FROM shards";
    assert_eq!(
        rows(wide(1), sum).await,
        ["1000000000000000000.00000000000000000000"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_that_overflow_are_an_error() {
    let of = |nanoseconds| {
        let value = IntervalMonthDayNano::new(1, 2, nanoseconds);
        let array: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![Some(value), None]));
        vec![batch(vec![("i", array)])]
    };
    let sql = "SELECT sum(i) AS s FROM shards";
    let answer = run(vec![of(5), of(6)], sql).await.unwrap();
    let sum = answer[0]
        .column(0)
        .as_primitive::<IntervalMonthDayNanoType>();
    assert_eq!(sum.value(0), IntervalMonthDayNano::new(2, 4, 11));
    let error = refused(vec![of(i64::MAX), of(1)], sql).await;
    assert_eq!(error.kind(), ErrorKind::Execute);
}

#[tokio::test(flavor = "multi_thread")]
async fn floating_point_sums_are_the_same_each_time() {
    let shards = || -> Vec<_> {
        (0..8)
            .map(|shard| {
                let values = (0..1000).map(|n| f64::from(n).sin() * 10_f64.powi(shard * 3 - 10));
                let x: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
                vec![batch(vec![("x", x)])]
            })
            .collect()
    };
    let sql = "SELECT sum(x) AS s, avg(x) AS a, stddev(x) AS d FROM shards";
    let first = rows(shards(), sql).await;
    for _ in 0..20 {
        assert_eq!(rows(shards(), sql).await, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_mean_what_the_documentation_says() {
    let x: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), None]));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(-7), None]));
    let shards = || vec![vec![batch(vec![("x", x.clone()), ("n", n.clone())])]];
    let cases: &[(&str, &[&str])] = &[
        (
            "SELECT n / 2 AS q, n % 2 AS r FROM shards",
            &["3 1", "-3 -1", " "],
        ),
        ("SELECT n FROM shards ORDER BY n", &["-7", "7", ""]),
        ("SELECT n FROM shards ORDER BY n DESC", &["", "7", "-7"]),
        ("SELECT count(*) AS c FROM shards GROUP BY x", &["2", "1"]),
        (
            "SELECT count(*) AS c FROM shards GROUP BY x, n > 10",
            &["2", "1"],
        ),
        (
            "SELECT DISTINCT abs(x) AS x FROM shards WHERE n = n",
            &["0.0"],
        ),
        ("SELECT count(DISTINCT x) AS c FROM shards", &["1"]),
        (
            "SELECT count(*) AS c FROM shards WHERE x = 0 OR x IN (0, 5)",
            &["2"],
        ),
        ("SELECT 1 / x AS q FROM shards WHERE n = 7", &["inf"]),
        (
            "SELECT 0.1 + 0.2 AS d, 1.5e1 AS e FROM shards LIMIT 1",
            &["0.3 15"],
        ),
        (
            "SELECT avg(n) AS a, 'A' || 'b' AS t FROM shards",
            &["0.0 Ab"],
        ),
        (
            "SELECT count(*) AS c FROM shards WHERE n IS NOT DISTINCT FROM NULL",
            &["1"],
        ),
    ];
    for &(sql, expected) in cases {
        assert_eq!(rows(shards(), sql).await, expected, "{sql}");
    }
    let error = refused(shards(), "SELECT n / (n - n) AS q FROM shards").await;
    assert_eq!(error.kind(), ErrorKind::Execute);
    assert_eq!(error.message(), "divide by zero error");
}
