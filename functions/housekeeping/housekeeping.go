// Package housekeeping does what must be done now and then and what nobody waits for: partitions ahead of the
// clock, expired keys and carts out, orders confirmed that nobody cancelled in time.
//
// It runs on a timer, on any instance, perhaps on two at once: every task is safe to repeat and skips what
// another one holds. The tasks come from the wiring, as slices don't know each other.
package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Task is one chore. Run does one bounded piece of it and says how much it did; it is called again until it did
// nothing or the time is over.
type Task struct {
	Name string
	Run  func(context.Context) (int, error)
}

// Run runs the tasks one after the other, each for at most a share of the time that ctx has left. A task that
// fails does not keep the others from running; their errors come back together.
func Run(ctx context.Context, logger *slog.Logger, tasks []Task) error {
	var errs []error
	for i, task := range tasks {
		done, err := all(ctx, task, len(tasks)-i)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", task.Name, err))
		}
		if done > 0 {
			logger.InfoContext(ctx, "housekeeping", "task", task.Name, "done", done)
		}
	}
	return errors.Join(errs...)
}

func all(ctx context.Context, task Task, tasksLeft int) (total int, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(tasksLeft))
		defer cancel()
	}
	for {
		n, err := task.Run(ctx)
		total += n
		if err != nil {
			return total, err
		}
		if n == 0 || ctx.Err() != nil {
			return total, nil
		}
	}
}
