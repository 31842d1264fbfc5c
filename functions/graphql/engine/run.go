package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/graphql-go/graphql/language/ast"

	"github.com/company/order-catalog-service/shared/background"
)

// Request is who asks, and what the resolvers share while they answer.
type Request struct {
	State any
	// Allow says why the caller may not have what has this policy, nil when they may.
	Allow func(policy string) error
	// Explain makes what the answer says of a resolver's error; it logs what that leaves out.
	Explain func(ctx context.Context, err error) *Error
}

// Response is an execution's outcome.
type Response struct {
	Data   []byte // JSON, null when an error came up to the top
	Errors []*Error
	Cost   int // what was there, in points
}

// parallel is how many fields of one depth are waited for at once.
const parallel = 4

// batch is all objects of one type that one selection is asked of, wherever in the answer they stand.
type batch struct {
	sel     *selection
	objects []any
	columns []column // of sel.deep
	// Where the objects stand: of which parent, and in a list of it (else -1).
	parent *batch
	field  *field
	from   []origin
}

type origin struct{ parent, item int32 }

// column is one field of all objects of a batch.
type column struct {
	slots []slot
	items []slot // of lists: each list's one after the other
}

// slot is a value: an object is a place in a batch, a list a stretch of its column's items.
type slot struct {
	b     *batch
	at, n int32
	kind  kind
	told  bool // why it is null has been told
}

type kind uint8

const (
	null kind = iota
	single
	list
)

// run is one execution.
type run struct {
	*Request
	ctx    context.Context
	bound  *Bound
	errors []*Error
	cost   int
	// What the document's bounds can't see, as it depends on the data: see Limits.Objects and Limits.Answer.
	objects int
	over    bool
}

func (x *run) limits() *Limits { return &x.bound.op.doc.schema.Limits }

// maxErrors is how many of an answer's errors are told: when something fails that each object of a page asks for, the
// first ones say it all.
const maxErrors = 200

// Run executes the operation. It returns when all is done or ctx ends: resolvers must heed it.
func (b *Bound) Run(ctx context.Context, r *Request) *Response {
	x := &run{Request: r, ctx: ctx, bound: b}
	root := &batch{sel: b.plan.root, objects: []any{nil}}
	if b.op.Kind == "mutation" {
		// One after the other, each with all that is below it: a field sees what those before it did.
		root.columns = make([]column, len(root.sel.deep))
		for _, f := range root.sel.deep {
			x.levels(x.level([]*batch{root}, f))
		}
	} else {
		x.levels([]*batch{root})
	}
	data := x.write(root)
	return &Response{Data: data, Errors: x.errors, Cost: x.cost}
}

// levels answers depth by depth: what many objects ask of one depth is asked at once.
func (x *run) levels(level []*batch) {
	for len(level) > 0 {
		for _, b := range level {
			b.columns = make([]column, len(b.sel.deep))
		}
		level = x.level(level, nil)
	}
}

// job is a field of a batch whose values are waited for.
type job struct {
	b       *batch
	f       *field
	pending Pending
	values  []Result
}

// level resolves the objects of one depth, or the one field of it, and returns the batches of the next.
func (x *run) level(level []*batch, only *field) (next []*batch) {
	var jobs []job
	for _, b := range level {
		for _, f := range b.sel.deep {
			if only != nil && f != only {
				continue
			}
			c := &b.columns[f.column]
			c.slots = make([]slot, len(b.objects))
			if !f.list {
				x.cost += f.weight * len(b.objects)
			}
			if f.Get != nil {
				next = x.get(b, f, c, next)
				continue
			}
			if pending := x.load(b, f, c); pending != nil {
				jobs = append(jobs, job{b: b, f: f, pending: pending})
			}
		}
	}
	x.wait(jobs)
	for _, j := range jobs {
		next = x.place(j, next)
	}
	return next
}

// get takes what the objects hold.
func (x *run) get(b *batch, f *field, c *column, next []*batch) []*batch {
	fill := filler{x: x, b: b, f: f, c: c}
	for i, o := range b.objects {
		fill.value(i, f.Get(o))
	}
	return append(next, fill.made...)
}

// load asks for what the objects need from elsewhere; nil when they may not have it.
func (x *run) load(b *batch, f *field, c *column) (pending Pending) {
	if f.policy != "" {
		if err := x.Allow(f.policy); err != nil {
			for i := range b.objects {
				x.fail(b, f, i, -1, err)
				c.slots[i].told = true
			}
			return nil
		}
	}
	in := Input{Parents: b.objects, State: x.State, Field: f.response}
	if f.argument >= 0 {
		in.Args = x.bound.args[f.argument]
	}
	if x.bound.op.Kind == "mutation" {
		var err error
		if in.Key, err = x.bound.keyOf(f.nodes[0].Directives); err != nil {
			return func() []Result { return repeat(len(b.objects), Result{Err: err}) }
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err := &PanicError{p, debug.Stack()}
			pending = func() []Result { return repeat(len(b.objects), Result{Err: err}) }
		}
	}()
	return f.Load(x.ctx, in)
}

// PanicError is a resolver's panic. Its text is for the log alone.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic in a resolver: %v", e.Value) }

func repeat(n int, r Result) []Result {
	out := make([]Result, n)
	for i := range out {
		out[i] = r
	}
	return out
}

// wait runs what waits, a few at a time.
func (x *run) wait(jobs []job) {
	if len(jobs) == 1 {
		x.await(&jobs[0])
		return
	}
	var all background.Group
	turns := make(chan struct{}, parallel)
	for i := range jobs {
		turns <- struct{}{}
		all.Go("graphql field", func() error {
			defer func() { <-turns }()
			x.await(&jobs[i]) // it keeps a panic as the field's error
			return nil
		})
	}
	all.Wait()
}

var errShort = errors.New("a resolver returned fewer values than there are parents")

func (x *run) await(j *job) {
	n := len(j.b.objects)
	defer func() {
		if p := recover(); p != nil {
			j.values = repeat(n, Result{Err: &PanicError{p, debug.Stack()}})
		}
	}()
	if err := x.ctx.Err(); err != nil {
		j.values = repeat(n, Result{Err: err})
		return
	}
	if j.values = j.pending(); len(j.values) != n {
		j.values = repeat(n, Result{Err: errShort})
	}
}

// place puts values into their column.
func (x *run) place(j job, next []*batch) []*batch {
	fill := filler{x: x, b: j.b, f: j.f, c: &j.b.columns[j.f.column]}
	for i, v := range j.values {
		if v.Err != nil {
			x.fail(j.b, j.f, i, -1, v.Err)
			fill.c.slots[i].told = true
			continue
		}
		fill.value(i, v.Value)
	}
	return append(next, fill.made...)
}

// filler puts the values of one field into slots, and their objects into batches by type.
type filler struct {
	x    *run
	b    *batch
	f    *field
	c    *column
	made []*batch
}

func (l *filler) value(i int, v any) {
	switch items, many := v.(List); {
	case v == nil:
	case !l.f.list:
		l.c.slots[i] = l.object(i, -1, v)
	case many:
		l.x.cost += l.f.weight * len(items)
		if l.c.items == nil {
			l.c.items = make([]slot, 0, len(items)*len(l.b.objects))
		}
		l.c.slots[i] = slot{at: int32(len(l.c.items)), n: int32(len(items)), kind: list} //nolint:gosec // bounded by the cost
		for k, item := range items {
			if err, failed := item.(error); failed {
				l.x.fail(l.b, l.f, i, k, err)
				l.c.items = append(l.c.items, slot{told: true})
				continue
			}
			l.c.items = append(l.c.items, l.object(i, k, item))
		}
	default:
		l.x.fail(l.b, l.f, i, -1, fmt.Errorf("%s is a list, and its resolver returned a %T", l.f.name, v))
		l.c.slots[i].told = true
	}
}

// object puts an object of the field of parent i, or of its list's item k, into the batch of its type.
func (l *filler) object(i, k int, v any) slot {
	if v == nil {
		return slot{}
	}
	if l.x.objects++; l.x.objects > l.x.limits().Objects {
		l.x.over = true
		return slot{told: true}
	}
	sel := l.f.only
	if sel == nil {
		if sel = l.f.sub[l.x.bound.op.doc.schema.TypeOf(v)]; sel == nil {
			l.x.fail(l.b, l.f, i, k, fmt.Errorf("%s cannot be a %T", l.f.name, v))
			return slot{told: true}
		}
	}
	var into *batch
	for _, b := range l.made {
		if b.sel == sel {
			into = b
		}
	}
	if into == nil {
		n := max(len(l.b.objects), cap(l.c.items))
		into = &batch{sel: sel, parent: l.b, field: l.f, objects: make([]any, 0, n), from: make([]origin, 0, n)}
		l.made = append(l.made, into)
	}
	into.objects = append(into.objects, v)
	into.from = append(into.from, origin{int32(i), int32(k)})                  //nolint:gosec // bounded by the cost
	return slot{b: into, at: int32(len(into.objects) - 1), n: 1, kind: single} //nolint:gosec // bounded by the cost
}

// fail notes an error of a field of object i.
func (x *run) fail(b *batch, f *field, i, item int, err error) {
	if len(x.errors) >= maxErrors {
		return
	}
	e := x.Explain(x.ctx, err)
	e.Locations = places(x.bound.op.doc.Text, []ast.Node{f.nodes[0]})
	e.Path = append(path(b, int32(i)), f.response) //nolint:gosec // bounded by the cost
	if item >= 0 {
		e.Path = append(e.Path, item)
	}
	x.errors = append(x.errors, e)
}

// path is where an object stands in the answer.
func path(b *batch, i int32) []any {
	if b.parent == nil {
		return nil
	}
	from := b.from[i]
	p := append(path(b.parent, from.parent), b.field.response)
	if from.item >= 0 {
		p = append(p, int(from.item))
	}
	return p
}
