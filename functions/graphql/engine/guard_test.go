package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/graphql/engine"
)

// killer is a document that was made to end the process, or to keep it busy.
type killer struct{ name, query string }

// killers are what is known to hurt servers of GraphQL, each just below and far above the limits where it has a size.
func killers() (list []killer) {
	add := func(name, query string) { list = append(list, killer{name, query}) }
	add("a fragment in itself", `{ ...A } fragment A on Query { ...A node(n: 1) { id } }`)
	add("two fragments in each other", `{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }`)
	add("a cycle that nobody spreads", `{ node(n: 1) { id } } fragment A on Node { child { ...B } } fragment B on Node { child { ...A } }`)
	add("a cycle through an inline fragment", `{ ...A } fragment A on Query { ... on Query { ...A } }`)
	for _, n := range []int{14, 29, 31, 1000, 200_000} {
		add(fmt.Sprintf("%d braces", n), "{"+strings.Repeat("node(n:1){child{", n/2)+"id"+strings.Repeat("}}", n/2)+"}")
		add(fmt.Sprintf("%d open braces", n), strings.Repeat("{a", n))
		add(fmt.Sprintf("%d brackets", n), `{ list(filter: {tags: `+strings.Repeat("[", n)+strings.Repeat("]", n)+`}) { id } }`)
		add(fmt.Sprintf("%d open brackets", n), `query($a: `+strings.Repeat("[", n))
		add(fmt.Sprintf("%d nested objects", n), `{ list(filter: `+strings.Repeat("{inner:", n)+"{}"+strings.Repeat("}", n)+`) { id } }`)
	}
	add("1 MB of brackets", strings.Repeat("[", 1<<20))
	for _, n := range []int{49, 400, 4000} {
		add(fmt.Sprintf("%d aliases", n), "{"+strings.Repeat("a:node(n:1){id}", 0)+numbered("a%d:node(n:1){id}", n)+"}")
		add(fmt.Sprintf("%d unknown fields", n), "{"+numbered(" f%d", n)+"}")
		add(fmt.Sprintf("%d times the same field", n), "{ node(n: 1) {"+strings.Repeat(" id", n)+"} }")
		add(fmt.Sprintf("%d times the same object", n), "{"+strings.Repeat(" node(n:1){child{id}}", n)+"}")
		add(fmt.Sprintf("%d directives", n), "{ node(n: 1) { id "+strings.Repeat("@include(if:true)", n)+"} }")
		add(fmt.Sprintf("%d variables", n), "query("+numbered("$v%d:Int ", n)+"){ node(n:1){id} }")
		add(fmt.Sprintf("%d operations", n), numbered("query Q%d{node(n:1){id}} ", n))
		add(fmt.Sprintf("%d fragments", n), "{...F0}"+numbered("fragment F%d on Query{node(n:1){id}} ", n))
		add(fmt.Sprintf("%d arguments", n), "{ node("+numbered("a%d:1 ", n)+") { id } }")
		add(fmt.Sprintf("%d mutations", n), "mutation{"+numbered("w%d:write(n:1){id} ", n)+"}")
	}
	for _, n := range []int{5, 9, 24} {
		// Each fragment spreads the next one twice, below two fields of one name: 2^n fields to merge.
		var b strings.Builder
		b.WriteString("{node(n:1){...D0}}")
		for i := range n {
			fmt.Fprintf(&b, "fragment D%d on Node{child{...D%d}child{...D%d}}", i, i+1, i+1)
		}
		fmt.Fprintf(&b, "fragment D%d on Node{id}", n)
		add(fmt.Sprintf("%d doubling fragments", n), b.String())
		b.Reset()
		b.WriteString("{...D0}")
		for i := range n {
			fmt.Fprintf(&b, "fragment D%d on Query{...D%d ...D%d}", i, i+1, i+1)
		}
		fmt.Fprintf(&b, "fragment D%d on Query{...X ...X}", n)
		add(fmt.Sprintf("%d doubling fragments of nothing", n), b.String())
		add(fmt.Sprintf("%d doubling fields", n), "{node(n:1){"+doubled(min(n, 12))+"}}")
	}
	add("thousands of pairs", "{ node(n: 1) {"+strings.Repeat("child{"+strings.Repeat("child{id name tags}", 17)+"}", 4)+"} }")
	add("twenty of twenty", "{ node(n: 1) {"+strings.Repeat("child{"+strings.Repeat(" id", 20)+"}", 20)+"} }")
	add("all lists", `{ list(first: 100) { children(first: 100) { children(first: 100) { id } } } }`)
	add("introspection in itself", `{ __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }`)
	add("a text without end", `{ list(filter: {tags: "`+strings.Repeat("x", 30_000)+`}) { id } }`)
	add("a comment", "#"+strings.Repeat("x", 30_000)+"\n{ node(n: 1) { id } }")
	add("commas", "{"+strings.Repeat(",", 30_000)+"node(n: 1) { id } }")
	add("a mistake after 30 KB of names", "{"+strings.Repeat("abcdefghijklmnopqrs{", 14)+strings.Repeat(" abcdefghijklmnopqrs", 1400)+" ? }")
	add("a mistake after 30 KB of blanks", "{ node"+strings.Repeat(" ", 30_000)+") }")
	add("a mistake after 30 KB of commas", "{ node"+strings.Repeat(",", 30_000)+"? }")
	add("a mistake after 30 KB of colons", "{ "+strings.Repeat("abcdefghijklmnopqrstuvwxyz0123456789:", 700)+"? }")
	add("a name of 30 KB", "{ "+strings.Repeat("a", 30_000)+" ) }")
	add("a number of 30 KB", "{ node(n: "+strings.Repeat("9", 30_000)+"?) }")
	add("fifteen texts", `{ list(filter: {tags: [`+strings.Repeat(`"`+strings.Repeat("x", 1990)+`" `, 15)+`], ?}) { id } }`)
	add("a block text without end", `{ list(filter: {tags: """`+strings.Repeat("x ", 15_000)+`}) { id } }`)
	add("no text", "\x00\x01\xff")
	add("a large number", `{ node(n: `+strings.Repeat("9", 10_000)+`) { id } }`)
	return list
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func doubled(n int) string {
	if n == 0 {
		return "id"
	}
	return "child{" + doubled(n-1) + "}child{" + doubled(n-1) + "}"
}

const inChild = "GRAPHQL_KILLERS"

// maxCPU is what any document may cost of processor time.
const maxCPU = 50 * time.Millisecond

// The corpus runs in a process of its own: that it lives to tell how long each took is the test.
func TestNoDocumentKillsTheProcess(t *testing.T) {
	if os.Getenv(inChild) != "" {
		runKillers(t)
		return
	}
	t.Parallel()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestNoDocumentKillsTheProcess$", "-test.v")
	cmd.Env = append(os.Environ(), inChild+"=1", "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), fmt.Sprintf("%d documents survived", len(killers())))
}

func runKillers(t *testing.T) {
	t.Helper()
	w := newWorld(t)
	for _, k := range killers() {
		best, answer := time.Hour, ""
		for range 3 { // the machine may be busy with others; a document that is slow is slow each time
			began := cpu(t)
			answer = attempt(t, w, k.query)
			best = min(best, cpu(t)-began)
		}
		t.Logf("%-32s %8s  %s", k.name, best.Round(10*time.Microsecond), answer)
		limit := maxCPU
		if raceEnabled {
			limit *= 10
		}
		assert.Less(t, best, limit, k.name)
	}
	fmt.Printf("%d documents survived\n", len(killers()))
}

func attempt(t *testing.T, w *world, query string) string {
	t.Helper()
	b, err := w.bind(query, nil)
	var refusal *engine.Refusal
	if errors.As(err, &refusal) {
		require.LessOrEqual(t, len(refusal.Errors), 21)
		return refusal.Errors[0].Code + " " + refusal.Errors[0].Message
	}
	require.NoError(t, err)
	r := w.execute(t.Context(), b)
	require.True(t, json.Valid(r.Data))
	return "answered"
}

// cpu is the processor time of this process.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
