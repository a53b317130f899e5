{{- define "crma.name" -}}
{{- if contains "crma" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-crma" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- define "crma.selector" -}}
app.kubernetes.io/name: crma
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}
{{- define "crma.labels" -}}
{{ include "crma.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "crma.store" -}}
{{ .Values.store.url | default "/store" }}
{{- end }}
{{- define "crma.claim" -}}
{{ .Values.store.existingClaim | default (printf "%s-store" (include "crma.name" .)) }}
{{- end }}
{{- define "crma.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "crma.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
