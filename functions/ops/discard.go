package ops

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/rest"
)

const discardSQL = `/* Ops.DiscardDeadLetter */ UPDATE dead_letters SET discarded_at = now() WHERE id = $1 RETURNING discarded_at`

type discardInput struct {
	ID   uuid.UUID `path:"id" format:"uuid"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why nobody needs it; it is kept in the audit log"`
	}
}

// discard says that nobody needs a dead letter: one that no version of ours can read would only come back. It is kept for
// as long as one that was sent again, and can still be sent.
func (o *Ops) discard(ctx context.Context, in *discardInput, key idempotency.Request) (rest.Answer, error) {
	return o.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		letter, err := one(ctx, tx, lockDeadSQL, in.ID)
		if err != nil {
			return rest.Answer{}, err
		}
		switch {
		case letter == nil:
			return o.API.Refuse(ctx, noDeadLetter()), nil
		case letter.RedrivenAt != nil || letter.DiscardedAt != nil:
			return o.API.Refuse(ctx, rest.NewProblem(rest.TooLate, "Somebody has sent or discarded this message already.")), nil
		}
		if err := tx.QueryRow(ctx, discardSQL, in.ID).Scan(&letter.DiscardedAt); err != nil {
			return rest.Answer{}, fmt.Errorf("discarding a dead letter: %w", err)
		}
		err = audit.Write(ctx, tx, audit.Entry{
			Action: audit.DeadLetterDiscarded, Target: in.ID.String(),
			Details: map[string]any{"entity": letter.Entity, "messageId": letter.MessageID, "reason": in.Body.Reason},
		})
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, *letter)
	})
}
