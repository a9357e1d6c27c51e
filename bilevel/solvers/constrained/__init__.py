"""General constraints: a primal-dual interior point and its central path."""
