{{- define "millrace.labels" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* The pipeline with what depends on the cluster. */ -}}
{{- define "millrace.pipeline" -}}
{{- $own := dict
  "serve" (dict "listen" "0.0.0.0:8080" "health" (dict "listen" "0.0.0.0:8081")
    "workers" (dict "dns" (printf "%s-worker.%s.svc" .Release.Name .Release.Namespace) "port" 8080)
    "internal_token" "${file:/run/secrets/millrace/internal_token}")
  "shutdown_timeout" (printf "%ds" (int .Values.shutdownTimeoutSeconds))
  "log" (dict "format" "json") -}}
{{- if .Values.pipeline.gateway -}}
{{- $_ := set $own "gateway" (dict "state" "/var/lib/millrace/gateway-state") -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.pipeline) $own) }}
{{- end }}

{{- /* A pod of any role; .component is its --role, .size what it may use. */ -}}
{{- define "millrace.pod" -}}
metadata:
  labels:
    {{- include "millrace.labels" . | nindent 4 }}
  annotations:
    checksum/pipeline: {{ include "millrace.pipeline" .root | sha256sum }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ add (int .root.Values.shutdownTimeoutSeconds) 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "millrace.labels" . | nindent 10 }}
  containers:
    - name: millrace
      image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        - run
        - --config=/etc/millrace/pipeline.yaml
        - --role={{ .component }}
        - --set=limits.memory={{ int .size.memoryMiB }}MiB
        - --set=limits.threads={{ int .size.cpu }}
      env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- with .root.Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: 8080
        - name: health
          containerPort: 8081
        {{- range .ports }}
        - name: {{ .name }}
          containerPort: {{ int .port }}
        {{- end }}
      # /livez answers from the first moment; what opens the log and the tables may take as long as it needs.
      livenessProbe:
        httpGet:
          path: /livez
          port: health
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: health
        periodSeconds: 5
      resources:
        requests:
          cpu: {{ int .size.cpu | quote }}
          memory: {{ include "millrace.memory" .size }}
        limits:
          memory: {{ include "millrace.memory" .size }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      workingDir: /var/lib/millrace
      volumeMounts:
        - name: pipeline
          mountPath: /etc/millrace
          readOnly: true
        - name: secrets
          mountPath: /run/secrets/millrace
          readOnly: true
        - name: state
          mountPath: /var/lib/millrace
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: pipeline
      configMap:
        name: {{ .root.Release.Name }}
    - name: secrets
      secret:
        secretName: {{ .root.Values.secretName }}
        defaultMode: 0440
    - name: tmp
      emptyDir: {}
    {{- if not .size.storage }}
    - name: state
      emptyDir: {}
    {{- end }}
{{- end }}

{{- define "millrace.memory" -}}
{{ add (div (mul (int .memoryMiB) 3) 2) 192 }}Mi
{{- end }}
