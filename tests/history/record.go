package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Op is what a client asks for.
type Op string

// The operations.
const (
	Place   Op = "place"  // an order
	Cancel  Op = "cancel" // an order
	Stock   Op = "stock"  // more units of a product
	Price   Op = "price"  // another price of a product
	SetCart Op = "cart"   // the quantity of a product in a cart
)

// Line is so many units of a product.
type Line struct {
	Product  string `json:"product"`
	Quantity int    `json:"quantity"`
}

// Short is a product of which there was too little, and how much of it a refusal said there was.
type Short struct {
	Product   string `json:"product"`
	Available int    `json:"available"`
}

// Attempt is one request and what came of it. Times are since the run's start.
type Attempt struct {
	Client int           `json:"client"`
	Op     Op            `json:"op"`
	Key    string        `json:"key"` // the Idempotency-Key; attempts with one key ask for one thing
	Begin  time.Duration `json:"begin"`
	End    time.Duration `json:"end"`

	// What was asked for.
	Lines []Line `json:"lines,omitempty"` // Place, Stock, SetCart
	Of    string `json:"of,omitempty"`    // the order, product or cart that is changed

	// What came: nothing at all is status 0, with the reason in Error.
	Status   int     `json:"status"`
	Error    string  `json:"error,omitempty"`
	Digest   string  `json:"digest,omitempty"` // of the answer's body
	Replayed bool    `json:"replayed,omitempty"`
	Problem  string  `json:"problem,omitempty"` // the slug of a problem's type
	Made     string  `json:"made,omitempty"`    // the id of what was made
	Short    []Short `json:"short,omitempty"`
	// Probe marks a repeat of a key that was answered before: its answer must be the same.
	Probe bool `json:"probe,omitempty"`
}

// Final tells whether the attempt's answer settles what became of its key. No answer, a 5xx, a 429 and "in flight" leave it
// open; who gets them asks again with the same key.
func (a Attempt) Final() bool {
	return a.Status != 0 && a.Status < 500 && a.Status != 429 && a.Problem != "request-in-flight"
}

// OK tells whether the attempt had its effect, or an earlier one with its key.
func (a Attempt) OK() bool { return a.Status >= 200 && a.Status < 300 }

// Fault is something that was done to the service on purpose. End is 0 for what has no end.
type Fault struct {
	Kind   string        `json:"kind"`
	Target string        `json:"target"`
	Begin  time.Duration `json:"begin"`
	End    time.Duration `json:"end"`
	Note   string        `json:"note,omitempty"`
}

// entry is a line of the file: one of them is set.
type entry struct {
	Run     *Run     `json:"run,omitempty"`
	Attempt *Attempt `json:"attempt,omitempty"`
	Fault   *Fault   `json:"fault,omitempty"`
}

// Run says what a history is of.
type Run struct {
	Seed    uint64         `json:"seed"`
	Began   time.Time      `json:"began"`
	Clients int            `json:"clients"`
	Stock   map[string]int `json:"stock,omitempty"` // what a product had in the beginning; products come up during a run
}

// Log writes a history. Its methods may be called by all clients at once.
type Log struct {
	mu    sync.Mutex
	began time.Time
	out   *bufio.Writer
	err   error
	count int
}

// NewLog begins a history that is written to w.
func NewLog(w io.Writer, run Run) *Log {
	l := &Log{began: run.Began, out: bufio.NewWriterSize(w, 1<<16)}
	l.write(entry{Run: &run})
	return l
}

// Now is the time since the run's start.
func (l *Log) Now() time.Duration { return time.Since(l.began) }

// Products tells of more products and their stock.
func (l *Log) Products(stock map[string]int) { l.write(entry{Run: &Run{Began: l.began, Stock: stock}}) }

// Add writes an attempt.
func (l *Log) Add(a Attempt) { l.write(entry{Attempt: &a}) }

// Hurt writes a fault.
func (l *Log) Hurt(f Fault) { l.write(entry{Fault: &f}) }

// Attempts is how many were written.
func (l *Log) Attempts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *Log) write(e entry) {
	raw, err := json.Marshal(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Attempt != nil {
		l.count++
	}
	if l.err == nil {
		l.err = err
	}
	if l.err == nil {
		_, l.err = l.out.Write(append(raw, '\n'))
	}
}

// Close writes what is left and says whether all of it was written.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.out.Flush()
	}
	if l.err != nil {
		return fmt.Errorf("writing the history: %w", l.err)
	}
	return nil
}

// History is a run as its file tells it.
type History struct {
	Run      Run
	Attempts []Attempt
	Faults   []Fault
}

// Read reads a history.
func Read(r io.Reader) (History, error) {
	h := History{Run: Run{Stock: map[string]int{}}}
	lines := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		raw, err := lines.ReadBytes('\n')
		if err == io.EOF && len(raw) == 0 { //nolint:errorlint // as ReadBytes gives it
			return h, nil
		}
		var e entry
		if err == nil {
			err = json.Unmarshal(raw, &e)
		}
		if err != nil {
			return h, fmt.Errorf("line %d of the history: %w", n, err)
		}
		switch {
		case e.Run != nil:
			if n == 1 {
				stock := h.Run.Stock
				h.Run = *e.Run
				if h.Run.Stock == nil {
					h.Run.Stock = stock
				}
			}
			for product, units := range e.Run.Stock {
				h.Run.Stock[product] = units
			}
		case e.Attempt != nil:
			h.Attempts = append(h.Attempts, *e.Attempt)
		case e.Fault != nil:
			h.Faults = append(h.Faults, *e.Fault)
		}
	}
}
