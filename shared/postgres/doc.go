// Package postgres is how the service reaches PostgreSQL, where its truth lives.
//
// It holds what every slice needs and nothing of what a slice does: connection budgets per kind of work (Pools),
// the schema and how it is brought up (Migrate), ids by the database's clock (NewID), and what a failed
// statement means to a caller (Unavailable). SQL itself is written in the slices, in their store.go.
//
// Each statement begins with a comment that names it, `/* PlaceOrder.Lock */ SELECT ...`: the name labels the
// metric db_query_duration_seconds and shows in pg_stat_activity.
//
// Read pool.go first, then migrations/ in order.
package postgres
