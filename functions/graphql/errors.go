package graphql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/company/order-catalog-service/functions/graphql/engine"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/rest"
)

// Codes of errors, in extensions.code. Besides these there is one for each kind of problem: its slug in capitals.
const (
	codeInput     = "BAD_USER_INPUT"
	codeCursor    = "BAD_CURSOR"
	codeForbidden = "FORBIDDEN"
)

func badInput(format string, args ...any) *engine.Error {
	return &engine.Error{Code: codeInput, Message: fmt.Sprintf(format, args...)}
}

// explain makes what the answer says of a resolver's error. What is our fault is logged, and not told.
func (g *GraphQL) explain(ctx context.Context, err error) *engine.Error {
	var (
		told      *engine.Error
		forbidden *auth.ForbiddenError
		panicked  *engine.PanicError
	)
	switch {
	case errors.As(err, &told):
		e := *told // each place in the answer has its own path
		return &e
	case errors.Is(err, paging.ErrBadCursor):
		return &engine.Error{Code: codeCursor, Message: "The cursor is not one of this list. Start again without it."}
	case errors.As(err, &forbidden):
		return &engine.Error{Code: codeForbidden, Message: "The token does not allow this: " + forbidden.Error() + "."}
	case errors.Is(err, context.DeadlineExceeded):
		return &engine.Error{Code: engine.CodeTimeout, Message: "The answer took too long. Ask for less, or again later."}
	case errors.As(err, &panicked):
		g.Logger.ErrorContext(ctx, "panic", "operation", "graphql", "panic", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack),
			"correlation_id", rest.From(ctx).Correlation)
	}
	return ofProblem(ctx, g.API.Explain(ctx, err))
}

// ofProblem is a problem as an entry of errors.
func ofProblem(ctx context.Context, p *rest.Problem) *engine.Error {
	e := &engine.Error{Message: p.Detail, Extensions: map[string]any{}}
	switch p.Kind.Slug {
	case rest.Validation.Slug, rest.Malformed.Slug:
		e.Code = codeInput
	case "":
		e.Code = engine.CodeInternal
	default:
		e.Code = strings.ToUpper(strings.ReplaceAll(p.Kind.Slug, "-", "_"))
	}
	if p.Kind.Status >= 500 {
		e.Extensions["correlationId"] = rest.From(ctx).Correlation
	}
	if after := p.RetryAfter(); after != "" {
		e.Extensions["retryAfter"] = after
	}
	if len(p.Errors) > 0 {
		e.Message = p.Errors[0].Detail
		e.Extensions["field"] = inputPath(p.Errors[0].Pointer)
	}
	for name, value := range p.Extensions {
		e.Extensions[name] = value
	}
	return e
}

// inputPath is a JSON Pointer as names and positions in a mutation's arguments.
func inputPath(pointer string) []string {
	path := []string{"input"}
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if step != "" {
			path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(step))
		}
	}
	return path
}
