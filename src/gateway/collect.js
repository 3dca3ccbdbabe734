(()=>{let s=document.currentScript,u=new URL("events/"+s.dataset.topic,s.src),n=navigator,w=window,q=[],t,
// Do Not Track, or Global Privacy Control: nothing is collected.
off=n.doNotTrack=="1"||w.doNotTrack=="1"||n.globalPrivacyControl,
id=()=>[...crypto.getRandomValues(new Uint8Array(16))].map(b=>b.toString(16).padStart(2,0)).join(""),
send=()=>{t=0;while(q.length){let b="",k=0;for(;k<q.length&&(!k||b.length+q[k].length<2e4);)b+=q[k++]+"\n";
// Refused while too much is under way: later. One that may never pass does not stop the others.
if(!n.sendBeacon(u,b)){if(k<2&&b.length>2e4)q.shift();t=setTimeout(send,5e3);break}q.splice(0,k)}};
w.millrace=e=>{if(off||q.length>999)return;q.push(JSON.stringify({event_id:id(),ts:new Date().toISOString(),page:location.pathname,...e}));
t=t||setTimeout(send,1e3)};
addEventListener("visibilitychange",()=>document.hidden&&send());addEventListener("pagehide",send)})()
