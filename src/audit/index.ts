export { type AuditRecord, auditEntry } from "./audit-record.ts";
export { type AuditJournal, type AuditLog, type AuditLogOptions, openAuditLog } from "./open-audit-log.ts";
