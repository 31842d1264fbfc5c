package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// line is what the server's log in JSON says of a plan.
func line(t *testing.T, text, tree string) string {
	t.Helper()
	message, err := json.Marshal("duration: 0.1 ms  plan:\n" + `{"Query Text": ` + text + `, "Plan": ` + tree + `}`)
	require.NoError(t, err)
	return `{"timestamp": "now", "message": ` + string(message) + `}`
}

const indexed = `{"Node Type": "Append", "Actual Loops": 1, "Subplans Removed": 3, "Plans": [
	{"Node Type": "Index Scan", "Relation Name": "orders_202611", "Index Name": "orders_202611_pkey", "Actual Loops": 1},
	{"Node Type": "Index Scan", "Relation Name": "orders_202612", "Index Name": "orders_202612_pkey", "Actual Loops": 1}]}`

const whole1 = `{"Node Type": "Nested Loop", "Actual Loops": 1, "Plans": [
	{"Node Type": "Seq Scan", "Relation Name": "orders_202611", "Actual Loops": 1},
	{"Node Type": "Seq Scan", "Relation Name": "feed_counter", "Actual Loops": 1},
	{"Node Type": "Seq Scan", "Relation Name": "inventory", "Actual Loops": 0}]}`

func TestPlansAreReadFromTheLog(t *testing.T) {
	t.Parallel()
	rows := map[string]float64{"orders_202611": 1000, "inventory": 1000, "feed_counter": 1}
	p, _, ok := logged(line(t, `"/* Orders.Read */ SELECT 1"`, indexed))
	require.True(t, ok)
	assert.Equal(t, "Orders.Read", name(p.Text))
	assert.Equal(t, "orders_pkey x2, 3 partitions pruned", p.access(rows, few))
	assert.Empty(t, p.wholes(rows, few))

	p, _, ok = logged(line(t, `"\n/* Orders.Read */ SELECT 1"`, whole1))
	require.True(t, ok)
	assert.Equal(t, "ALL of orders, small feed_counter, ALL of inventory", p.access(rows, few))
	assert.Equal(t, []string{"orders_202611"}, p.wholes(rows, few), "what was not executed is not read")

	_, _, ok = logged(`{"message": "checkpoint starting: time"}`)
	assert.False(t, ok)
}

func TestWholeTablesAndMissingStatementsAreErrors(t *testing.T) {
	t.Parallel()
	rows := map[string]float64{"orders_202611": 1000}
	p, _, _ := logged(line(t, `"/* X.Y */"`, whole1))
	require.ErrorContains(t, whole(map[string][]plan{"X.Y": {p}}, rows), "X.Y reads all of orders_202611")
	require.NoError(t, whole(map[string][]plan{"X.Y": {{}}}, rows))

	var statements []statement
	plans := map[string][]plan{}
	for _, name := range hot {
		statements, plans[name] = append(statements, statement{Name: name}), []plan{{}}
	}
	require.NoError(t, missing(statements, plans))
	delete(plans, hot[1])
	require.ErrorContains(t, missing(statements[1:], plans), hot[0]+", "+hot[1])
}
