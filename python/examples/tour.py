# %% [markdown]
# # From many PostgreSQL databases to a dataframe, and a plot
#
# This file is a notebook: VS Code, Spyder and PyCharm run it cell by cell, and so does Jupyter with
# jupytext. `python tour.py` runs it from top to bottom. It asks the throw-away servers of the demo, with the
# TPC-H data: customers, and their orders with their lines. Start them, and work in the folder that
# is named:
#
#     ./dev demo --keep --dir ~/merganser-demo
#     cd ~/merganser-demo
#     pip install merganser polars pandas pyarrow matplotlib    # or the wheel that you have built
#
# They end with `sh stop.sh`.

# %%
import datetime
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import polars as pl

import merganser

# %% [markdown]
# ## Connect
#
# `merganser.toml` says which databases there are, and how tables are spread over them. Nothing is
# connected yet; the first query does that.

# %%
con = merganser.connect("merganser.toml")
print("the shards:", ", ".join(con.shards))

# %% [markdown]
# ## What tables are there?
#
# The rows of a *sharded* table are spread: each stands in one database, by its key. Of a *replicated*
# table every database has all rows, so that it can be joined where the others are.

# %%
for table in con.tables():
    spread = f"by {table.key}" if table.kind == "sharded" else "in every database"
    print(f"{table.name:<10} {spread:<20} {', '.join(column.name for column in table.columns)}")

# %% [markdown]
# ## A query, and its plan
#
# `con.sql` takes the SQL that you would write for one database. It sends nothing: the query runs when
# you want its rows, and anew each time you do. A notebook that shows `q` shows the text.

# %%
q = con.sql(
    """
    SELECT date_trunc('month', o_orderdate)::date AS month, c_mktsegment AS segment,
           count(*) AS orders, sum(o_totalprice)::numeric(15, 2) AS revenue
    FROM orders JOIN customer ON c_custkey = o_custkey
    WHERE o_orderdate >= $1 AND o_orderdate < $2
    GROUP BY 1, 2
    ORDER BY 1, 2
    """,
    [datetime.date(1996, 1, 1), datetime.date(1998, 1, 1)],
)

# %% [markdown]
# The plan says what runs where, and why it cannot be done with less. A notebook draws it. Here every
# database counts and adds up its own orders, and what crosses the network is a row for each month,
# segment and database.

# %%
plan = q.explain()
print(plan)

# %% [markdown]
# ## A dataframe
#
# Of Polars or of pandas; `q.arrow()` is a table of pyarrow. `revenue` is a decimal and not a float: the
# answer is the one that a single PostgreSQL with all rows would give, to the last digit. The cast in the
# query says how many digits that are; a sum that has none would come with 20 behind the point.

# %%
by_month: pl.DataFrame = q.pl()
print(by_month)

# %%
frame: pd.DataFrame = q.df()
print(frame.dtypes)

# %% [markdown]
# ## Aggregate: there, or here
#
# What SQL can say, the databases do, and little is moved. What is easier to say in Polars or pandas,
# do here, with the rows that you have. Both ways give the same.

# %%
there = con.sql(
    """
    SELECT c_mktsegment AS segment, sum(o_totalprice)::numeric(15, 2) AS revenue
    FROM orders JOIN customer ON c_custkey = o_custkey
    WHERE o_orderdate >= $1 AND o_orderdate < $2
    GROUP BY 1 ORDER BY 2 DESC
    """,
    [datetime.date(1996, 1, 1), datetime.date(1998, 1, 1)],
).pl()
here = by_month.group_by("segment").agg(pl.col("revenue").sum()).sort("revenue", descending=True)
print(there)
assert here["segment"].to_list() == there["segment"].to_list()
assert here["revenue"].to_list() == there["revenue"].to_list()

# %% [markdown]
# A list of Python, or a column of a dataframe, is a parameter too, however long it is. The lines of
# the ten dearest orders:

# %%
dearest = con.sql("SELECT o_orderkey FROM orders ORDER BY o_totalprice DESC LIMIT 10").pl()
lines = con.sql(
    "SELECT * FROM lineitem WHERE l_orderkey = ANY($1) ORDER BY l_orderkey, l_linenumber",
    [dearest["o_orderkey"]],
).pl()
print(lines.select("l_orderkey", "l_linenumber", "l_quantity", "l_extendedprice"))

# %% [markdown]
# ## Plot

# %%
millions = frame.assign(
    month=pd.to_datetime(frame["month"]), revenue=frame["revenue"].astype(float) / 1e6
)
axes = millions.pivot(index="month", columns="segment", values="revenue").plot(figsize=(9, 4))
axes.set(title="Revenue by month", xlabel="", ylabel="millions", ylim=0)
axes.legend(ncols=5, loc="lower center")
plt.tight_layout()
plt.savefig("revenue.png", dpi=120)
plt.show()

# %% [markdown]
# ## A file
#
# `write` does not bring all rows into memory first, so they may be more than fit. The file is there when
# it is complete, and not before.

# %%
everything = con.sql("SELECT * FROM orders")
rows = everything.write("orders.parquet", compression="zstd")
print(f"{rows:,} rows, {Path('orders.parquet').stat().st_size / 1e6:.1f} MB")
assert pl.scan_parquet("orders.parquet").select(pl.len()).collect().item() == rows

# %% [markdown]
# ## When something is wrong
#
# No query gives half an answer. Errors say what is wrong, on which shard, and what to do.

# %%
try:
    con.sql("SELECT o_total FROM orders").pl()
except merganser.ProgrammingError as error:
    print(error)
    print("hint:", error.hint)

# %%
con.close()
