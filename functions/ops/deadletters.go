package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// sendTime bounds a redrive's send, inside its transaction.
const sendTime = 3 * time.Second

// DeadLetter is a message that the broker gave up on.
type DeadLetter struct {
	ID            uuid.UUID      `json:"id"`
	Entity        string         `json:"entity" doc:"The queue or topic it is sent to again"`
	MessageID     string         `json:"messageId"`
	Subject       string         `json:"subject,omitempty"`
	Reason        string         `json:"reason,omitempty"`
	Description   string         `json:"description,omitempty"`
	DeliveryCount int64          `json:"deliveryCount"`
	EnqueuedAt    *time.Time     `json:"enqueuedAt,omitempty"`
	ReceivedAt    time.Time      `json:"receivedAt"`
	RedrivenAt    *time.Time     `json:"redrivenAt,omitempty"`
	DiscardedAt   *time.Time     `json:"discardedAt,omitempty"`
	Properties    map[string]any `json:"properties"`
	ContentType   string         `json:"contentType,omitempty"`
	Body          string         `json:"body,omitempty" doc:"The message's text; absent when it is not UTF-8, see bodyBase64"`
	BodyBase64    []byte         `json:"bodyBase64,omitempty"`
}

const (
	recordSQL = `/* Ops.RecordDeadLetter */
INSERT INTO dead_letters (id, entity, sequence_number, message_id, subject, content_type, body, properties, reason, description, delivery_count, enqueued_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (entity, sequence_number, message_id) DO NOTHING`

	deadLetterColumns = `id, entity, message_id, subject, reason, description, delivery_count, enqueued_at, received_at, redriven_at, discarded_at, properties, content_type, body`

	listDeadSQL = `/* Ops.ListDeadLetters */ SELECT ` + deadLetterColumns + `
FROM dead_letters WHERE redriven_at IS NULL AND discarded_at IS NULL AND id < $1 ORDER BY id DESC LIMIT $2`
	readDeadSQL   = `/* Ops.ReadDeadLetter */ SELECT ` + deadLetterColumns + ` FROM dead_letters WHERE id = $1`
	lockDeadSQL   = `/* Ops.LockDeadLetter */ SELECT ` + deadLetterColumns + ` FROM dead_letters WHERE id = $1 FOR UPDATE`
	redrivenSQL   = `/* Ops.Redriven */ UPDATE dead_letters SET redriven_at = now() WHERE id = $1 RETURNING redriven_at`
	purgeDeadSQL  = `/* Ops.PurgeDeadLetters */ DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters WHERE COALESCE(redriven_at, discarded_at) < now() - interval '90 days' LIMIT $1)`
	databaseClock = `/* Ops.Clock */ SELECT clock_timestamp()`
)

// Record stores messages of an entity's dead-letter queue. When it returns nil the broker's copies may go. A
// message that is handed over twice is stored once.
func (o *Ops) Record(ctx context.Context, entity string, messages []servicebus.Received) error {
	err := o.Pools.Background.Tx(ctx, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, databaseClock).Scan(&now); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, m := range messages {
			properties, err := json.Marshal(plain(m.ApplicationProperties))
			if err != nil {
				return err
			}
			var enqueued *time.Time
			if !m.EnqueuedTime.IsZero() {
				enqueued = &m.EnqueuedTime
			}
			body := m.Body
			if body == nil {
				body = []byte{}
			}
			batch.Queue(recordSQL, postgres.NewID(now), entity, m.SequenceNumber, storable(m.MessageID), storable(m.Subject), storable(m.ContentType), body, properties,
				text(m.ApplicationProperties, "DeadLetterReason"), text(m.ApplicationProperties, "DeadLetterErrorDescription"), m.DeliveryCount, enqueued)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return fmt.Errorf("recording dead letters of %s: %w", entity, err)
	}
	return nil
}

// RecordPoison stores a message of an entity that nobody here can read, with the reason.
func (o *Ops) RecordPoison(ctx context.Context, entity string, m servicebus.Received, cause error) error {
	properties := map[string]any{"DeadLetterReason": "unreadable", "DeadLetterErrorDescription": cause.Error()}
	for name, value := range m.ApplicationProperties {
		if _, ours := properties[name]; !ours {
			properties[name] = value
		}
	}
	m.ApplicationProperties = properties
	return o.Record(ctx, entity, []servicebus.Received{m})
}

func text(properties map[string]any, name string) string {
	s, _ := properties[name].(string)
	return storable(s)
}

// Purge deletes up to limit dead letters that were sent again or discarded long ago, and says how many.
func (o *Ops) Purge(ctx context.Context, limit int) (n int, err error) {
	err = o.Pools.Background.Do(ctx, func(conn *pgx.Conn) error {
		done, err := conn.Exec(ctx, purgeDeadSQL, limit)
		n = int(done.RowsAffected())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("purging dead letters: %w", err)
	}
	return n, nil
}

// redrive sends a dead letter again, as a new message: under its old id the broker might take it for a duplicate
// (CX-13). Killed between send and mark it may be sent twice, which its receivers expect of any message.
func (o *Ops) redrive(ctx context.Context, id uuid.UUID, key idempotency.Request) (rest.Answer, error) {
	return o.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		letter, err := one(ctx, tx, lockDeadSQL, id)
		if err != nil {
			return rest.Answer{}, err
		}
		if letter == nil {
			return o.API.Refuse(ctx, noDeadLetter()), nil
		}
		sender := o.Senders[letter.Entity]
		if sender == nil {
			return o.API.Refuse(ctx, rest.NewProblem(rest.NotFound, "Nothing is sent to %s any more.", letter.Entity)), nil
		}
		if err := send(ctx, sender, *letter); err != nil {
			return rest.Answer{}, err
		}
		if err := tx.QueryRow(ctx, redrivenSQL, id).Scan(&letter.RedrivenAt); err != nil {
			return rest.Answer{}, fmt.Errorf("marking a dead letter: %w", err)
		}
		err = audit.Write(ctx, tx, audit.Entry{
			Action: audit.DeadLetterRedriven, Target: id.String(), Details: map[string]any{"entity": letter.Entity, "messageId": letter.MessageID},
		})
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, *letter)
	})
}

func send(ctx context.Context, sender *servicebus.Sender, letter DeadLetter) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	properties := make(map[string]any, len(letter.Properties))
	for name, value := range letter.Properties {
		if name == "DeadLetterReason" || name == "DeadLetterErrorDescription" {
			continue // the broker's own
		}
		switch v := value.(type) { // what AMQP can carry
		case string, bool:
			properties[name] = v
		case json.Number:
			if n := number(v); n != nil {
				properties[name] = n
			}
		}
	}
	body := letter.BodyBase64
	if body == nil {
		body = []byte(letter.Body)
	}
	_, err := sender.Send(ctx, []servicebus.Message{{
		ID: uuid.NewString(), Subject: letter.Subject, ContentType: letter.ContentType, Body: body, Properties: properties,
	}})
	switch {
	case errors.Is(err, servicebus.ErrRefused):
		return rest.NewProblem(rest.Validation, "The broker refuses this message: it may be too large.")
	case err != nil:
		return rest.NewProblem(rest.DependencyUnavailable, "The broker did not take the message. Try again with the same key.")
	}
	return nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func one(ctx context.Context, q querier, sql string, args ...any) (*DeadLetter, error) {
	list, err := query(ctx, q, sql, args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

func query(ctx context.Context, q querier, sql string, args ...any) ([]DeadLetter, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading dead letters: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l DeadLetter, err error) {
		var body, properties []byte
		err = row.Scan(&l.ID, &l.Entity, &l.MessageID, &l.Subject, &l.Reason, &l.Description, &l.DeliveryCount, &l.EnqueuedAt,
			&l.ReceivedAt, &l.RedrivenAt, &l.DiscardedAt, &properties, &l.ContentType, &body)
		if err != nil {
			return l, err
		}
		if l.Properties, err = exactly(properties); err != nil {
			return l, err
		}
		if utf8.Valid(body) {
			l.Body = string(body)
		} else {
			l.BodyBase64 = body
		}
		return l, nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading dead letters: %w", err)
	}
	return list, nil
}

func noDeadLetter() *rest.Problem {
	return rest.NewProblem(rest.NotFound, "There is no such dead letter.")
}
