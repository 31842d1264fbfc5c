// Package lambda runs the real handler as AWS Lambda would: lambda_test.go stands in for Lambda's Runtime API over HTTP
// and hands the process HTTP, SQS and EventBridge events as AWS writes them.
package lambda
