package engine

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/graphql-go/graphql/gqlerrors"
	"github.com/graphql-go/graphql/language/ast"
	"github.com/graphql-go/graphql/language/location"
)

// Stage says how far a request came before it was refused: HTTP has a status for each.
type Stage int

// The stages.
const (
	Parsing    Stage = iota // the document is not one
	Validating              // it does not fit the schema, or is too much
	Binding                 // its operation or variables are not there or do not fit
)

// Error is one entry of errors in an answer.
type Error struct {
	Message   string
	Locations []location.SourceLocation
	Path      []any // response names and list positions; of an execution's errors only
	Code      string
	// Extensions are further members beside code.
	Extensions map[string]any

	nodes []ast.Node // where it is, until in says so in lines and columns
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Refusal is why a request is not executed.
type Refusal struct {
	Stage  Stage
	Errors []*Error
}

// Error implements error.
func (r *Refusal) Error() string {
	texts := make([]string, len(r.Errors))
	for i, e := range r.Errors {
		texts[i] = e.Message
	}
	return strings.Join(texts, "; ")
}

// Codes of what the engine refuses by itself.
const (
	CodeParse     = "GRAPHQL_PARSE_FAILED"
	CodeInvalid   = "GRAPHQL_VALIDATION_FAILED"
	CodeTooLarge  = "GRAPHQL_TOO_COMPLEX"
	CodeVariables = "BAD_USER_INPUT"
	CodeOperation = "OPERATION_RESOLUTION_FAILURE"
	CodeInternal  = "INTERNAL_SERVER_ERROR"
	CodeTimeout   = "TIMEOUT"
)

func refuse(stage Stage, code, message string, nodes ...ast.Node) *Refusal {
	return &Refusal{stage, []*Error{{Message: message, Code: code, nodes: nodes}}}
}

// in gives the errors their places in the document.
func (r *Refusal) in(query string) *Refusal {
	for _, e := range r.Errors {
		if e.Locations == nil {
			e.Locations = places(query, e.nodes)
		}
	}
	return r
}

// places are where nodes stand in their document.
func places(query string, nodes []ast.Node) (list []location.SourceLocation) {
	for _, n := range nodes {
		if loc := n.GetLoc(); loc != nil {
			list = append(list, placeOf(query, loc.Start))
		}
	}
	return list
}

// invalid makes a refusal of what validation found: no more than there is to read, and without naming what the schema
// has instead, unless suggestions are on.
func invalid(query string, found []gqlerrors.FormattedError, limits Limits) *Refusal {
	r := &Refusal{Stage: Validating}
	for i, e := range found {
		if i == limits.Errors {
			r.Errors = append(r.Errors, &Error{Message: "There are " + strconv.Itoa(len(found)-i) + " more errors.", Code: CodeInvalid})
			break
		}
		message := e.Message
		if !limits.Suggestions {
			message, _, _ = strings.Cut(message, " Did you mean")
		}
		one := &Error{Message: message, Code: CodeInvalid}
		var located *gqlerrors.Error
		if errors.As(e.OriginalError(), &located) {
			one.Locations = placesOf(query, located.Positions)
		}
		r.Errors = append(r.Errors, one)
	}
	return r
}

// AppendJSON appends the error as an answer shows it.
func (e *Error) AppendJSON(out []byte) []byte {
	out = AppendText(append(out, `{"message":`...), e.Message)
	if len(e.Locations) > 0 {
		out = append(out, `,"locations":[`...)
		for i, l := range e.Locations {
			if i > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendInt(append(out, `{"line":`...), int64(l.Line), 10)
			out = strconv.AppendInt(append(out, `,"column":`...), int64(l.Column), 10)
			out = append(out, '}')
		}
		out = append(out, ']')
	}
	if len(e.Path) > 0 {
		out = append(out, `,"path":[`...)
		for i, step := range e.Path {
			if i > 0 {
				out = append(out, ',')
			}
			if name, ok := step.(string); ok {
				out = AppendText(out, name)
			} else {
				out = strconv.AppendInt(out, int64(step.(int)), 10)
			}
		}
		out = append(out, ']')
	}
	out = AppendText(append(out, `,"extensions":{"code":`...), e.Code)
	if len(e.Extensions) > 0 {
		if more, err := json.Marshal(e.Extensions); err == nil { // what can't be shown is left out: the code is there
			out = append(append(out, ','), more[1:len(more)-1]...)
		}
	}
	return append(out, `}}`...)
}
